//! Tests of private keys that OpenSSL generates, plain and encrypted, in each of its formats.

use serde_json::json;

use super::keys_foreign::{Workshop, imported, refused};

const GENERATED: [(&str, &str, &str); 5] = [
    (
        "rsa",
        "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key",
        "RS256",
    ),
    (
        "p256",
        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key",
        "ES256",
    ),
    (
        "p384",
        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out key",
        "ES384",
    ),
    (
        "ed25519",
        "openssl genpkey -algorithm ED25519 -out key",
        "EdDSA",
    ),
    (
        "ecparam",
        "openssl ecparam -genkey -name prime256v1 -out key",
        "ES256",
    ),
];

#[test]
fn key_of_openssl_is_the_same_in_every_format() {
    for (name, command, algorithm) in GENERATED {
        let workshop = Workshop::new();
        workshop.run(command);
        let expected = imported(&workshop.path("key"), &[]);
        assert_eq!(expected.1, algorithm, "{name}");
        workshop.run("openssl pkcs8 -topk8 -nocrypt -in key -out pkcs8.pem");
        workshop.run("openssl pkcs8 -topk8 -nocrypt -in key -outform DER -out pkcs8.der");
        // Ed25519 has no other format than PKCS#8.
        let traditional = if name == "ed25519" {
            ""
        } else {
            "-traditional"
        };
        workshop.run(&format!(
            "openssl pkey -in key {traditional} -out traditional.pem"
        ));
        workshop.run(&format!(
            "openssl pkey -in key {traditional} -outform DER -out traditional.der"
        ));
        workshop.run("openssl req -x509 -key key -subj /CN=x -days 1 -out cert.pem && cat cert.pem pkcs8.pem cert.pem >bundle.pem");
        workshop.run("base64 pkcs8.pem >pem.b64; base64 -w0 pkcs8.der >der.b64");
        workshop.run(
            "openssl pkcs12 -export -inkey key -in cert.pem -passout pass:hunter2 -out store.p12",
        );
        workshop
            .run("openssl pkcs12 -in store.p12 -nocerts -noenc -passin pass:hunter2 -out bag.pem");
        workshop.run("grep -q 'Bag Attributes' bag.pem");
        let pem = workshop.text("pkcs8.pem");
        let one_line = pem.trim_end().replace('\n', "\\n");
        let encoded = workshop.text("pem.b64").replace('\n', "");
        workshop.write("crlf.pem", pem.replace('\n', "\r\n"));
        workshop.write("cr.pem", pem.replace('\n', "\r"));
        workshop.write("marked.pem", format!("\u{feff}{pem}"));
        workshop.write(
            "utf16.pem",
            format!("\u{feff}{pem}")
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect::<Vec<_>>(),
        );
        workshop.write(
            "indented.pem",
            pem.lines()
                .map(|line| format!("    {line} \n"))
                .collect::<Vec<_>>()
                .concat(),
        );
        workshop.write("spaced.pem", pem.replace('\n', "\n\n"));
        workshop.write("escaped.env", format!("KEY=\"{one_line}\\n\"\n"));
        workshop.write("spaces.env", pem.replace('\n', " "));
        workshop.write(
            "cfssl.json",
            json!({ "cert": workshop.text("cert.pem"), "key": pem }).to_string(),
        );
        workshop.write(
            "account.json",
            json!({ "type": "service_account", "private_key": pem }).to_string(),
        );
        workshop.write(
            "secret.json",
            json!({ "kind": "Secret", "data": { "tls.key": encoded } }).to_string(),
        );
        workshop.write(
            "secret.yaml",
            format!("kind: Secret\ndata:\n  tls.key: {encoded}\n"),
        );
        for form in [
            "pkcs8.pem",
            "pkcs8.der",
            "traditional.pem",
            "traditional.der",
            "bundle.pem",
            "pem.b64",
            "der.b64",
            "bag.pem",
            "crlf.pem",
            "cr.pem",
            "marked.pem",
            "utf16.pem",
            "indented.pem",
            "spaced.pem",
            "escaped.env",
            "spaces.env",
            "cfssl.json",
            "account.json",
            "secret.json",
            "secret.yaml",
        ] {
            assert_eq!(
                imported(&workshop.path(form), &[]),
                expected,
                "{name} as {form}"
            );
        }
        let line = refused(&workshop.path("store.p12"), &[]);
        assert!(
            line.starts_with(
                "is a PKCS#12 store: convert it with openssl pkcs12 -in FILE -nocerts -noenc"
            ),
            "{line}"
        );
        workshop
            .run("openssl req -new -key key -subj /CN=x -out csr.pem; openssl pkey -in key -pubout -out public.pem");
        workshop.run("for kind in x509:cert req:csr; do openssl ${kind%:*} -in ${kind#*:}.pem -outform DER -out ${kind#*:}.der; done");
        workshop.run("openssl pkey -pubin -in public.pem -outform DER -out public.der");
        for (form, what) in [
            ("cert.pem", "holds a certificate, which is public"),
            ("csr.pem", "holds a certificate request (CSR)"),
            ("public.pem", "holds a public key"),
            ("cert.der", "holds a certificate"),
            ("csr.der", "holds a certificate"),
            ("public.der", "holds a public key"),
        ] {
            let line = refused(&workshop.path(form), &[]);
            assert!(
                line.starts_with(what) && line.contains("no private key: pass the file"),
                "{form}: {line}"
            );
        }
    }
}

#[test]
fn encrypted_key_of_openssl_is_read_or_refused_as_too_old() {
    let workshop = Workshop::new();
    workshop.run("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key");
    let expected = imported(&workshop.path("key"), &[]);
    let with = workshop.path("phrase");
    let flags = ["--passphrase-file", with.to_str().unwrap()];
    for scheme in [
        "-v2 aes-256-cbc",
        "-v2 aes-128-cbc",
        "-v2 aes-192-cbc -v2prf hmacWithSHA512",
        "-scrypt",
        "-v2 aes-256-cbc -iter 1",
    ] {
        workshop.run(&format!(
            "openssl pkcs8 -topk8 {scheme} -in key -passout file:phrase -out sealed"
        ));
        assert_eq!(
            imported(&workshop.path("sealed"), &flags),
            expected,
            "{scheme}"
        );
        workshop.run(&format!(
            "openssl pkcs8 -topk8 {scheme} -in key -passout file:phrase -outform DER -out sealed"
        ));
        assert_eq!(
            imported(&workshop.path("sealed"), &flags),
            expected,
            "{scheme} in DER"
        );
        assert!(
            refused(&workshop.path("sealed"), &[])
                .starts_with("is encrypted: pass the file with its passphrase")
        );
        workshop.write("wrong", "hunter3\n");
        let wrong = workshop.path("wrong");
        let line = refused(
            &workshop.path("sealed"),
            &["--passphrase-file", wrong.to_str().unwrap()],
        );
        assert!(
            line.starts_with("cannot be decrypted: the passphrase is wrong"),
            "{scheme}: {line}"
        );
    }
    for text in [
        "\u{feff}hunter2\r\n",
        "hunter2\r\n",
        "hunter2\n\n",
        "hunter2\na second line\n",
    ] {
        workshop.write("other", text);
        assert_eq!(
            imported(
                &workshop.path("sealed"),
                &[
                    "--passphrase-file",
                    workshop.path("other").to_str().unwrap()
                ]
            ),
            expected
        );
    }
    for old in [
        "openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES -in key -passout file:phrase -out sealed",
        "openssl pkcs8 -topk8 -v2 des3 -in key -passout file:phrase -out sealed",
        "openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA1 -in key -passout file:phrase -out sealed",
        "openssl pkcs8 -topk8 -v1 PBE-MD5-DES -provider legacy -provider default -in key -passout file:phrase -out sealed",
        "openssl ec -aes256 -in key -passout file:phrase -out sealed",
        "openssl ec -des3 -in key -passout file:phrase -out sealed",
    ] {
        workshop.run(old);
        for flags in [&flags[..], &[]] {
            let line = refused(&workshop.path("sealed"), flags);
            assert!(
                line.starts_with("is encrypted with an unsupported old scheme"),
                "{old}: {line}"
            );
            assert!(
                line.contains("openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out NEW"),
                "{line}"
            );
        }
        // Command of the error message.
        workshop.run(
            "openssl pkcs8 -topk8 -v2 aes-256-cbc -in sealed -out new -passin file:phrase -passout pass:hunter2 \
             -provider legacy -provider default",
        );
        assert_eq!(imported(&workshop.path("new"), &flags), expected, "{old}");
    }
}
