//! Tests with keys from OpenSSL 3 (`openssl genpkey`, `ecparam`, `genrsa`, `pkcs8`), which are not
//! used elsewhere.

use std::{fs, os::unix::fs::PermissionsExt as _};

use pem::Pem;

use super::*;
use crate::signing_key::SigningKey;
use latchkey_verifier::Kind;

const ED25519: &[u8] = include_bytes!("fixtures/ed25519_test_key.pem");
const P256: &[u8] = include_bytes!("fixtures/p256_pkcs8_test_key.pem");
const P256_PBKDF2: &[u8] = include_bytes!("fixtures/p256_pbkdf2_test_key.pem");
const P256_PUBLIC: &str = include_str!("fixtures/p256_public_test_key.pem");
const P256_SCRYPT: &[u8] = include_bytes!("fixtures/p256_scrypt_test_key.pem");
const P256_SEC1: &[u8] = include_bytes!("fixtures/p256_sec1_with_parameters_test_key.pem");
const P384_SEC1: &[u8] = include_bytes!("fixtures/p384_sec1_test_key.pem");
const P521: &[u8] = include_bytes!("fixtures/p521_test_key.pem");
const RSA: &[u8] = include_bytes!("fixtures/rsa2048_pkcs8_test_key.pem");
const RSA_PKCS1: &[u8] = include_bytes!("fixtures/rsa2048_pkcs1_test_key.pem");
const RSA_WEAK: &[u8] = include_bytes!("weak_rsa_test_key.pem");
const RSA_WEAK_PKCS1: &[u8] = include_bytes!("fixtures/rsa1024_pkcs1_test_key.pem");
const SECP256K1: &[u8] = include_bytes!("fixtures/secp256k1_test_key.pem");

/// Passphrase of the encrypted keys.
const PASSPHRASE: &str = "correct horse battery staple";

fn passphrase(text: &str) -> Passphrase {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passphrase");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    Passphrase::from_file_to_open(&path)
        .unwrap()
        .at(passphrase::WrappingCost::new(10))
}

/// Imports a key. Returns its algorithm and the key.
fn import(
    bytes: &[u8],
    algorithm: Option<Algorithm>,
    passphrase: Option<&Passphrase>,
) -> (Algorithm, SigningKey) {
    let (algorithm, contents) = read(
        bytes,
        algorithm,
        passphrase.map_or(&[], std::slice::from_ref),
    )
    .unwrap();
    (
        algorithm,
        SigningKey::from_contents(algorithm, Kind::Access, &contents).unwrap(),
    )
}

fn refusal(bytes: &[u8], algorithm: Option<Algorithm>) -> MaterialError {
    read(bytes, algorithm, &[]).unwrap_err()
}

#[test]
fn algorithm_follows_from_the_key_except_for_rsa() {
    for (bytes, algorithm) in [
        (P256, Algorithm::Es256),
        (P256_SEC1, Algorithm::Es256),
        (P384_SEC1, Algorithm::Es384),
        (ED25519, Algorithm::EdDsa),
        (RSA, Algorithm::Rs256),
        (RSA_PKCS1, Algorithm::Rs256),
    ] {
        let (found, key) = import(bytes, None, None);
        assert_eq!(found, algorithm);
        assert!(
            key.verifying_key().is_ok() && key.sign(b"a message").is_ok(),
            "{algorithm}"
        );
        assert_eq!(import(bytes, Some(algorithm), None).1.kid(), key.kid());
    }
    for algorithm in [Algorithm::Ps256, Algorithm::Rs512] {
        assert_eq!(import(RSA, Some(algorithm), None).0, algorithm);
    }
}

#[test]
fn pkcs1_and_pkcs8_yield_the_same_key() {
    assert_eq!(
        import(RSA_PKCS1, None, None).1.kid(),
        import(RSA, None, None).1.kid()
    );
}

#[test]
fn public_key_equals_that_of_openssl() {
    assert_eq!(
        import(P256, None, None).1.public_pem().unwrap(),
        P256_PUBLIC
    );
}

#[test]
fn encrypted_key_requires_its_passphrase() {
    let (right, wrong) = (passphrase(PASSPHRASE), passphrase("some other passphrase"));
    let kid = import(P256, None, None).1.kid().to_owned();
    for bytes in [P256_PBKDF2, P256_SCRYPT] {
        assert_eq!(import(bytes, None, Some(&right)).1.kid(), kid);
        assert_eq!(refusal(bytes, None), MaterialError::EncryptedImport);
        let refused = read(bytes, None, std::slice::from_ref(&wrong)).unwrap_err();
        assert!(
            matches!(
                refused,
                MaterialError::Passphrase | MaterialError::NoPrivateKey
            ),
            "{refused}"
        );
    }
    // A passphrase for an unencrypted key is ignored.
    assert_eq!(import(P256, None, Some(&wrong)).1.kid(), kid);
}

#[test]
fn unsupported_keys_are_refused_with_the_reason() {
    for bytes in [
        &b""[..],
        b"a secret of some kind that is no PEM",
        &[0xff; 100],
    ] {
        assert_eq!(refusal(bytes, None), MaterialError::NoPrivateKey);
    }
    for (bytes, name) in [(P521, "P-521"), (SECP256K1, "secp256k1")] {
        for algorithm in [None, Some(Algorithm::Es384)] {
            assert_eq!(
                refusal(bytes, algorithm),
                MaterialError::OtherAlgorithm(name.to_owned())
            );
        }
    }
    for algorithm in [None, Some(Algorithm::Es256)] {
        let refused = refusal(P256_PUBLIC.as_bytes(), algorithm).to_string();
        assert!(
            refused.starts_with("holds a public key and no private key"),
            "{refused}"
        );
    }
    for (bytes, algorithm) in [
        (P256, Algorithm::Rs256),
        (RSA_PKCS1, Algorithm::EdDsa),
        (P384_SEC1, Algorithm::Es256),
    ] {
        assert_eq!(
            refusal(bytes, Some(algorithm)),
            MaterialError::NotForAlgorithm(algorithm)
        );
    }
    let two = [P256, ED25519].concat();
    assert_eq!(
        refusal(&two, None),
        MaterialError::SeveralKeys(2),
        "the key is ambiguous"
    );
}

#[test]
fn weak_rsa_key_is_refused_in_any_format() {
    for bytes in [RSA_WEAK, RSA_WEAK_PKCS1] {
        assert_eq!(refusal(bytes, None), MaterialError::WeakRsa);
        assert_eq!(
            refusal(bytes, Some(Algorithm::Ps384)),
            MaterialError::WeakRsa
        );
    }
}

fn der(hex: &str) -> Vec<u8> {
    let contents: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect();
    pem::encode(&Pem::new("PRIVATE KEY", contents)).into_bytes()
}

/// Numbers that are not private keys, and a private key with the public part of another.
#[test]
fn inconsistent_private_keys_are_refused() {
    const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    const ABOVE: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632552";
    const GENERATOR: &str = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
    let p256 = "301306072a8648ce3d020106082a8648ce3d030107";
    for number in [&"0".repeat(64), ORDER, ABOVE, &"f".repeat(64)] {
        let bytes = der(&format!("3041020100{p256}042730250201010420{number}"));
        assert_eq!(
            refusal(&bytes, None),
            MaterialError::NoPrivateKey,
            "{number}"
        );
    }
    let seven = format!("{}7", "0".repeat(63));
    let bytes = der(&format!(
        "308187020100{p256}046d306b0201010420{seven}a14403420004{GENERATOR}"
    ));
    assert_eq!(
        refusal(&bytes, None),
        MaterialError::NoPrivateKey,
        "the generator is the public key of 1, not of 7"
    );

    // PKCS#8 version 2, which includes the public key. This one has small order.
    let (seed, small) = (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "01".to_owned() + &"0".repeat(62),
    );
    let bytes = der(&format!(
        "3051020101300506032b657004220420{seed}812100{small}"
    ));
    assert_eq!(refusal(&bytes, None), MaterialError::NoPrivateKey);
    let bytes = der(&format!("302e020100300506032b657004220420{seed}"));
    assert_eq!(import(&bytes, None, None).0, Algorithm::EdDsa);
}

#[test]
fn keys_of_x25519_and_ed448_are_refused() {
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    // X25519, and Ed448 with its 57 bytes (RFC 8410).
    let x25519 = der(&format!("302e020100300506032b656e04220420{seed}"));
    let ed448 = der(&format!(
        "3047020100300506032b6571043b0439{seed}{}",
        "5a".repeat(25)
    ));
    for (bytes, name) in [(x25519, "X25519"), (ed448, "Ed448")] {
        for algorithm in [None, Some(Algorithm::EdDsa)] {
            assert_eq!(
                refusal(&bytes, algorithm),
                MaterialError::OtherAlgorithm(name.to_owned())
            );
        }
    }
}

#[test]
fn secret_is_the_file_without_the_last_newline() {
    // Not in ascending order, which would be a pattern.
    let secret: [u8; 40] =
        std::array::from_fn(|index| 40 + u8::try_from(index * index * 7 % 83).unwrap());
    let read = |bytes: &[u8]| read(bytes, Some(Algorithm::Hs256), &[]).unwrap().1.to_vec();
    assert_eq!(read(&secret), secret);
    for end in [&b"\n"[..], b"\r\n"] {
        assert_eq!(read(&[&secret[..], end].concat()), secret);
    }
    assert_eq!(
        read(&[&secret[..], b"\n\n"].concat()),
        [&secret[..], b"\n"].concat(),
        "only one newline is removed"
    );
    assert_eq!(
        read(&[b"\xef\xbb\xbf", &secret[..], b"\r\n"].concat()),
        secret,
        "as saved by editors on Windows"
    );
    let random: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain((0..40).map(|index: u8| index.wrapping_mul(151) ^ 0x5a))
        .collect();
    assert_eq!(read(&random), random, "random bytes are not UTF-16");
    let short = |algorithm, got, least| MaterialError::ShortSecret {
        algorithm,
        got,
        least,
    };
    assert_eq!(
        refusal(&secret[..31], Some(Algorithm::Hs256)),
        short(Algorithm::Hs256, 31, 32)
    );
    assert_eq!(
        refusal(b"0123456789abcdef0123456789abcde\n", Some(Algorithm::Hs256)),
        short(Algorithm::Hs256, 31, 32)
    );
    assert_eq!(
        refusal(&secret, Some(Algorithm::Hs512)),
        short(Algorithm::Hs512, 40, 64)
    );
}

#[test]
fn public_or_guessable_text_is_not_a_secret() {
    let django = b"django-insecure-0123456789abcdefghijklmnopqrstuvwxyz";
    let ssh = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ1dCB0aGlzIGlzIG5vIGtleSBhdCBhbGwhISE=";
    let order: [u8; 64] = std::array::from_fn(|index| 40 + u8::try_from(index).unwrap());
    let examples: [&[u8]; 4] = [
        b"a-string-secret-at-least-256-bits-long",
        b"your-256-bit-secret-your-256-bit-secret",
        b"correct horse battery staple Correct!",
        b"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
    ];
    for known in [
        P256_PUBLIC.as_bytes(),
        &[7; 64],
        &order,
        b"secretsecretsecretsecretsecretsecret",
        django,
        ssh,
    ]
    .into_iter()
    .chain(examples)
    {
        assert!(matches!(
            refusal(known, Some(Algorithm::Hs256)),
            MaterialError::NoSecret(_)
        ));
    }
}

/// A secret in the PEM text of another key ring is imported without the PEM encoding.
#[test]
fn secret_of_another_ring_can_be_imported() {
    let right = passphrase(PASSPHRASE);
    for with in [None, Some(&right)] {
        let (key, text) = SigningKey::generate(Algorithm::Hs256, Kind::Refresh, with).unwrap();
        let bytes = secrecy::ExposeSecret::expose_secret(&text).as_bytes();
        assert_eq!(
            import(bytes, Some(Algorithm::Hs256), with).1.kid(),
            key.kid()
        );
        if with.is_some() {
            assert_eq!(
                refusal(bytes, Some(Algorithm::Hs256)),
                MaterialError::EncryptedImport
            );
        }
    }
    assert!(
        matches!(
            refusal(P256, Some(Algorithm::Hs256)),
            MaterialError::NoSecret(_)
        ),
        "a private key is not a secret"
    );
}
