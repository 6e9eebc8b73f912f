//! Private keys of other programs: read, or refused with a name and with the command that converts them. OpenSSL and
//! OpenSSH make them here, and run those commands.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;
use tempfile::TempDir;

use crate::support::{Outcome, Place};

const PASSPHRASE: &str = "hunter2";

/// A folder in which keys are made.
pub(super) struct Workshop(TempDir);

impl Workshop {
    pub(super) fn new() -> Self {
        let workshop = Self(tempfile::tempdir().unwrap());
        workshop.write("phrase", format!("{PASSPHRASE}\n"));
        workshop
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a line of shell.
    #[track_caller]
    pub(super) fn run(&self, line: &str) -> &Self {
        let output = Command::new("sh")
            .args(["-ec", line])
            .current_dir(&self.0)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        self
    }

    pub(super) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(super) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        fs::write(self.path(name), bytes).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        self
    }
}

fn import(path: &Path, flags: &[&str]) -> (Place, Outcome) {
    let place = Place::new();
    let arguments: Vec<&str> = [path.to_str().unwrap()]
        .into_iter()
        .chain(flags.iter().copied())
        .collect();
    let outcome = place.run_with_arguments("keys import", &arguments, "");
    (place, outcome)
}

/// Imports a key into a ring of its own, and returns its kid and algorithm.
#[track_caller]
pub(super) fn imported(path: &Path, flags: &[&str]) -> (String, String) {
    let (place, outcome) = import(path, flags);
    assert_eq!(outcome.code, Some(0), "{}: {outcome:?}", path.display());
    let keys = place.run("keys list --json").json();
    (
        keys[0]["kid"].as_str().unwrap().to_owned(),
        keys[0]["algorithm"].as_str().unwrap().to_owned(),
    )
}

/// Returns the one line with which a key is refused, without the name of the file.
#[track_caller]
pub(super) fn refused(path: &Path, flags: &[&str]) -> String {
    let (place, outcome) = import(path, flags);
    let line = outcome.refused(1).to_owned();
    assert!(place.files().is_empty(), "{:?}", place.files());
    line.strip_prefix(&format!("{}: ", path.display()))
        .unwrap_or_else(|| panic!("{line}"))
        .to_owned()
}

const MADE: [(&str, &str, &str); 5] = [
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
fn key_of_openssl_is_the_same_key_in_every_form() {
    for (name, command, algorithm) in MADE {
        let workshop = Workshop::new();
        workshop.run(command);
        let expected = imported(&workshop.path("key"), &[]);
        assert_eq!(expected.1, algorithm, "{name}");
        workshop.run("openssl pkcs8 -topk8 -nocrypt -in key -out pkcs8.pem");
        workshop.run("openssl pkcs8 -topk8 -nocrypt -in key -outform DER -out pkcs8.der");
        // Ed25519 has no other form than PKCS#8.
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
                line.starts_with(what) && line.contains("no private key: give the file"),
                "{form}: {line}"
            );
        }
    }
}

#[test]
fn encrypted_key_of_openssl_opens_with_its_passphrase_or_is_refused_as_encrypted_in_an_old_way() {
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
                .starts_with("is encrypted: give the file with its passphrase")
        );
        workshop.write("wrong", "hunter3\n");
        let wrong = workshop.path("wrong");
        let line = refused(
            &workshop.path("sealed"),
            &["--passphrase-file", wrong.to_str().unwrap()],
        );
        assert!(
            line.starts_with("cannot be decrypted with the passphrase that was given"),
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
        // The command of the message.
        workshop.run(
            "openssl pkcs8 -topk8 -v2 aes-256-cbc -in sealed -out new -passin file:phrase -passout pass:hunter2 \
             -provider legacy -provider default",
        );
        assert_eq!(imported(&workshop.path("new"), &flags), expected, "{old}");
    }
}

#[test]
fn key_of_openssh_is_read_or_refused_with_the_command_that_converts_it() {
    for (kind, algorithm) in [
        ("ed25519", Some("EdDSA")),
        ("ecdsa -b 256", Some("ES256")),
        ("ecdsa -b 384", Some("ES384")),
        ("rsa -b 2048", None),
    ] {
        let workshop = Workshop::new();
        workshop.run(&format!("ssh-keygen -q -t {kind} -N '' -C '' -f key"));
        if let Some(algorithm) = algorithm {
            assert_eq!(imported(&workshop.path("key"), &[]).1, algorithm, "{kind}");
        } else {
            let line = refused(&workshop.path("key"), &[]);
            assert!(
                line.contains("ssh-keygen -p -N \"\" -m PEM -f COPY"),
                "{line}"
            );
        }
        let line = refused(&workshop.path("key.pub"), &[]);
        assert!(line.starts_with("holds a public key of OpenSSH"), "{line}");
        workshop.run(
            "cp key sealed && chmod 600 sealed && ssh-keygen -q -p -P '' -N hunter2 -f sealed",
        );
        let line = refused(
            &workshop.path("sealed"),
            &[
                "--passphrase-file",
                workshop.path("phrase").to_str().unwrap(),
            ],
        );
        assert!(
            line.starts_with("is encrypted in OpenSSH's own format")
                && line.contains("-m PEM -f COPY"),
            "{line}"
        );
        workshop.run("ssh-keygen -q -p -P hunter2 -N '' -m PEM -f sealed");
        let expected = imported(&workshop.path("sealed"), &[]);
        if algorithm.is_some() {
            assert_eq!(imported(&workshop.path("key"), &[]), expected, "{kind}");
        }
        // ssh-keygen writes Ed25519 in no other format.
        if kind != "ed25519" {
            for format in ["PEM", "PKCS8"] {
                workshop.run(&format!(
                    "ssh-keygen -q -p -P '' -N '' -m {format} -f sealed"
                ));
                assert_eq!(
                    imported(&workshop.path("sealed"), &[]),
                    expected,
                    "{kind} {format}"
                );
            }
        }
    }
    let workshop = Workshop::new();
    workshop.run("ssh-keygen -q -t ecdsa -b 521 -N '' -f key");
    assert!(
        refused(&workshop.path("key"), &[])
            .starts_with("holds a key of ecdsa-sha2-nistp521: expected one of RSA")
    );
}

#[test]
fn key_of_another_algorithm_is_named() {
    for (command, name) in [
        (
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out key",
            "P-521",
        ),
        (
            "openssl ecparam -genkey -name secp256k1 -out key",
            "secp256k1",
        ),
        (
            "openssl ecparam -genkey -name secp224r1 -noout -out key",
            "P-224",
        ),
        (
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:brainpoolP256r1 -out key",
            "brainpoolP256r1",
        ),
        ("openssl genpkey -algorithm ED448 -out key", "Ed448"),
        ("openssl genpkey -algorithm X25519 -out key", "X25519"),
        ("openssl dsaparam -genkey -noout -out key 1024", "DSA"),
        (
            "openssl dsaparam -genkey -noout 1024 | openssl dsa -outform DER -out key",
            "DSA",
        ),
    ] {
        let workshop = Workshop::new();
        workshop.run(command);
        let line = refused(&workshop.path("key"), &[]);
        assert_eq!(
            line,
            format!(
                "holds a key of {name}: expected one of RSA, of the curves P-256 or P-384, or Ed25519"
            )
        );
    }
}

#[test]
fn key_of_an_unusual_form_is_read_or_refused_with_a_command() {
    let workshop = Workshop::new();
    workshop.run("openssl genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out key");
    assert_eq!(imported(&workshop.path("key"), &[]).1, "PS256");
    assert_eq!(
        imported(&workshop.path("key"), &["--as", "PS512"]).1,
        "PS512"
    );
    assert!(
        refused(&workshop.path("key"), &["--as", "RS256"])
            .starts_with("does not hold a private key for RS256")
    );

    workshop.run("openssl ecparam -genkey -name prime256v1 -noout -out named");
    let expected = imported(&workshop.path("named"), &[]);
    workshop.run("openssl ec -in named -no_public -out key");
    assert_eq!(
        imported(&workshop.path("key"), &[]),
        expected,
        "without the public key"
    );
    workshop.run("openssl pkcs8 -topk8 -nocrypt -in key -out pkcs8");
    assert_eq!(
        imported(&workshop.path("pkcs8"), &[]),
        expected,
        "without the public key"
    );
    workshop.run("openssl ec -in named -conv_form compressed -out key");
    assert_eq!(
        imported(&workshop.path("key"), &[]),
        expected,
        "with a compressed point"
    );
    workshop.run("openssl ec -in named -param_enc explicit -out key");
    let (place, outcome) = import(&workshop.path("key"), &[]);
    if outcome.code == Some(0) {
        assert_eq!(
            place.run("keys list --json").json()[0]["kid"],
            expected.0.as_str()
        );
    } else {
        assert!(
            outcome
                .refused(1)
                .contains("openssl ec -in FILE -param_enc named_curve -out NEW"),
            "{outcome:?}"
        );
    }
    workshop.run("openssl ec -in key -param_enc named_curve -out new");
    assert_eq!(imported(&workshop.path("new"), &[]), expected);
    workshop
        .run("openssl genrsa -traditional -out a 2048; openssl genrsa -out b 2048; cat a b >two");
    assert_eq!(imported(&workshop.path("a"), &[]).1, "RS256");
    assert_eq!(
        refused(&workshop.path("two"), &[]),
        "holds 2 private keys: keep one of them in the file"
    );
    workshop.run("openssl genrsa -out weak 1024");
    assert_eq!(
        refused(&workshop.path("weak"), &[]),
        "holds an RSA key of fewer than 2048 bits"
    );
    workshop.run("head -c 300 b >cut");
    assert_eq!(
        refused(&workshop.path("cut"), &[]),
        "holds a PEM block that is cut off or damaged"
    );
    workshop.run("openssl ecparam -name prime256v1 -out key");
    assert!(
        refused(&workshop.path("key"), &[])
            .starts_with("holds the parameters of a curve, and no private key")
    );
    for (bytes, what) in [
        (
            &b"PuTTY-User-Key-File-3: ssh-ed25519\n"[..],
            "is a PuTTY key: convert it with puttygen FILE",
        ),
        (
            b"\xfe\xed\xfe\xed\0\0\0\x02",
            "is a Java key store: convert it with keytool",
        ),
        (b"\x30\x80\x02\x01\x03\x30\x80", "is a PKCS#12 store"),
        (
            b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQ==\n-----END PGP PRIVATE KEY BLOCK-----\n",
            "holds a PGP key",
        ),
        (b"{\"keys\":[]}", "is JSON without a private key"),
        (b"hello", "holds no private key that can be used"),
        (b"", "holds no private key that can be used"),
    ] {
        workshop.write("key", bytes);
        let line = refused(&workshop.path("key"), &[]);
        assert!(line.starts_with(what), "{line}");
    }
}

#[test]
fn import_without_a_service_makes_keys_and_no_database() {
    let workshop = Workshop::new();
    workshop.run("openssl genpkey -algorithm ED25519 -out key");
    let (place, outcome) = import(&workshop.path("key"), &[]);
    outcome.done();
    place.run("keys rotate").done();
    assert!(
        place.files().iter().all(|name| name.starts_with("keys/")),
        "{:?}",
        place.files()
    );
}
