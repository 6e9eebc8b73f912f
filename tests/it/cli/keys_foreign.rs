//! Private keys of OpenSSH, and unusual ones of OpenSSL: they are imported, or refused with the
//! command that converts them. The tests run these commands.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use latchkey_testkit::{Outcome, Place};

const PASSPHRASE: &str = "hunter2";

/// Folder for key files.
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

    /// Runs a line of shell script.
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

/// Imports a key into an empty key ring, and returns its kid and algorithm.
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

/// Returns the error about a refused key, without the name of the file.
#[track_caller]
pub(super) fn refused(path: &Path, flags: &[&str]) -> String {
    let (place, outcome) = import(path, flags);
    let line = outcome.refused(1).to_owned();
    assert!(place.files().is_empty(), "{:?}", place.files());
    line.strip_prefix(&format!("the key file {} ", path.display()))
        .unwrap_or_else(|| panic!("{line}"))
        .to_owned()
}

#[test]
fn key_of_openssh_is_read_or_refused_with_the_remedy() {
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
            line.starts_with("is encrypted in OpenSSH's format") && line.contains("-m PEM -f COPY"),
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
            .starts_with("holds a key of type ecdsa-sha2-nistp521: expected RSA")
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
            format!("holds a key of type {name}: expected RSA, P-256, P-384 or Ed25519")
        );
    }
}

#[test]
fn key_of_an_unusual_format_is_read_or_refused_with_the_remedy() {
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
        "holds 2 private keys: keep only one of them in the file"
    );
    workshop.run("openssl genrsa -out weak 1024");
    assert_eq!(
        refused(&workshop.path("weak"), &[]),
        "holds an RSA key of fewer than 2048 bits"
    );
    workshop.run("head -c 300 b >cut");
    assert_eq!(
        refused(&workshop.path("cut"), &[]),
        "holds a PEM block that is truncated or damaged"
    );
    workshop.run("openssl ecparam -name prime256v1 -out key");
    assert!(
        refused(&workshop.path("key"), &[])
            .starts_with("holds the parameters of a curve and no private key")
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
        (b"hello", "holds no supported private key"),
        (b"", "holds no supported private key"),
    ] {
        workshop.write("key", bytes);
        let line = refused(&workshop.path("key"), &[]);
        assert!(line.starts_with(what), "{line}");
    }
}

#[test]
fn import_creates_keys_and_no_database() {
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
