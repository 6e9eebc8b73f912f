//! Tests of passphrase files, and of damaged or excessive blocks.

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn is_too_much(sealed: &[u8]) -> bool {
    obstacle(sealed) == Some(MaterialError::TooMuchWork)
}

const SECRET: &[u8] = b"contents of a private key";

/// Creates a file with these bytes. Returns its temporary directory and its path.
fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passphrase");
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    (folder, path)
}

fn refusal(bytes: &[u8]) -> String {
    let (_folder, path) = file(bytes);
    Passphrase::from_file(&path).unwrap_err().to_string()
}

fn passphrase(bytes: &[u8]) -> Passphrase {
    let (_folder, path) = file(bytes);
    Passphrase::from_file_to_open(&path)
        .unwrap()
        .at(WrappingCost::new(10))
}

/// Returns a block with this key derivation and no useful contents.
fn with_kdf(kdf: Kdf) -> Vec<u8> {
    let encryption = pbes2::EncryptionScheme::Aes256Cbc { iv: [1; 16] };
    let encryption_algorithm = EncryptionScheme::Pbes2(pbes2::Parameters { kdf, encryption });
    let encrypted_data = OctetString::new(vec![0; 32]).unwrap();
    EncryptedPrivateKeyInfoOwned {
        encryption_algorithm,
        encrypted_data,
    }
    .to_der()
    .unwrap()
}

fn scrypt_of(log_n: u8, block_size: u32, parallelization: u32) -> Vec<u8> {
    let cost = scrypt::Params::new(log_n, block_size, parallelization).unwrap();
    with_kdf(
        pbes2::ScryptParams::from_params_and_salt(cost, &[2; 16])
            .unwrap()
            .into(),
    )
}

#[test]
fn passphrase_has_16_to_4096_bytes() {
    assert!(refusal(b"").contains("holds a passphrase of 0 bytes: expected at least 16"));
    assert!(
        refusal(b"fifteen letters")
            .contains("holds a passphrase of 15 bytes: expected at least 16")
    );
    assert!(
        refusal(b"fifteen letters\n").contains("15 bytes"),
        "the newline does not count"
    );
    assert!(refusal(&[b'\n'; 100]).contains("0 bytes"));
    let (_folder, path) = file(b"sixteen letters!");
    assert!(Passphrase::from_file_to_open(&path).is_ok());
    let (_folder, path) = file(&[b'x'; 4096]);
    assert!(Passphrase::from_file_to_open(&path).is_ok());
    assert_eq!(refusal(&[b'x'; 4097]), "holds more than 4096 bytes");
}

#[test]
fn missing_file_or_directory_is_an_error() {
    let (folder, path) = file(b"the passphrase of a test");
    assert!(
        Passphrase::from_file(&folder.path().join("other"))
            .unwrap_err()
            .to_string()
            .contains("No such file")
    );
    assert!(
        Passphrase::from_file(folder.path())
            .unwrap_err()
            .to_string()
            .contains("is not a regular file")
    );
    assert!(Passphrase::from_file(&path).is_ok());
}

#[test]
fn newline_at_the_end_is_ignored() {
    let sealed = passphrase(b"the passphrase of a test")
        .wrap("PRIVATE KEY", SECRET)
        .unwrap();
    assert_eq!(sealed.tag(), "ENCRYPTED PRIVATE KEY");
    for same in [
        &b"the passphrase of a test\n"[..],
        b"the passphrase of a test\r\n",
    ] {
        assert_eq!(
            passphrase(same)
                .unwrap(sealed.contents())
                .next()
                .unwrap()
                .as_slice(),
            SECRET
        );
    }
    for other in [
        &b"the passphrase of a tes"[..],
        b" the passphrase of a test",
        b"the passphrase of a test ",
    ] {
        let other = passphrase(other);
        let opened = other.unwrap(sealed.contents()).next();
        assert_ne!(opened.as_deref().map(Vec::as_slice), Some(SECRET));
    }
}

#[test]
fn key_file_may_have_any_bytes() {
    for bytes in [
        &[0; 32][..],
        &[0xff; 32],
        b"\0\n\r\xfe0123456789abcdef",
        b"\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\nx",
    ] {
        let sealed = passphrase(bytes).wrap("PRIVATE KEY", SECRET).unwrap();
        assert_eq!(
            passphrase(bytes)
                .unwrap(sealed.contents())
                .next()
                .unwrap()
                .as_slice(),
            SECRET,
            "{bytes:?}"
        );
    }
}

#[test]
fn encryption_is_randomised() {
    let passphrase = passphrase(b"the passphrase of a test");
    let [one, other] = [(), ()].map(|()| passphrase.wrap("PRIVATE KEY", SECRET).unwrap());
    assert_ne!(one.contents(), other.contents());
    assert!(
        !one.contents()
            .windows(SECRET.len())
            .any(|window| window == SECRET)
    );
}

#[test]
fn damaged_block_yields_nothing() {
    let passphrase = passphrase(b"the passphrase of a test");
    let sealed = passphrase
        .wrap("PRIVATE KEY", SECRET)
        .unwrap()
        .into_contents();
    for damaged in [
        &b""[..],
        b"\x30\x00",
        &[0xff; 64],
        &sealed[..sealed.len() - 1],
        &sealed[1..],
    ] {
        assert!(passphrase.unwrap(damaged).next().is_none(), "{damaged:?}");
    }
    // A flipped bit of the ciphertext is not always detected, but never yields the contents.
    let mut flipped = sealed.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert_ne!(
        passphrase
            .unwrap(&flipped)
            .next()
            .as_deref()
            .map(Vec::as_slice),
        Some(SECRET)
    );
}

/// These would take hundreds of gigabytes or hours, and this test would not end.
#[test]
fn excessive_cost_is_refused() {
    let passphrase = passphrase(b"the passphrase of a test");
    let hours = pbes2::Pbkdf2Params::hmac_sha256(90_000_000, &[2; 16]).unwrap();
    for sealed in [
        scrypt_of(30, 8, 1),
        scrypt_of(28, 8, 1),
        scrypt_of(19, 8, 1),
        scrypt_of(10, 8, 1000),
        with_kdf(hours.into()),
    ] {
        assert!(is_too_much(&sealed) && passphrase.unwrap(&sealed).next().is_none());
    }
    assert!(!is_too_much(&scrypt_of(17, 8, 1)) && !is_too_much(b"no block"));
}

#[test]
fn new_key_has_the_cost_that_owasp_recommends() {
    let (_folder, path) = file(b"the passphrase of a test");
    let sealed = Passphrase::from_file(&path)
        .unwrap()
        .wrap("PRIVATE KEY", SECRET)
        .unwrap();
    let info = EncryptedPrivateKeyInfoRef::try_from(sealed.contents()).unwrap();
    let EncryptionScheme::Pbes2(scheme) = &info.encryption_algorithm else {
        panic!("another scheme")
    };
    let Kdf::Scrypt(cost) = &scheme.kdf else {
        panic!("another function")
    };
    assert_eq!(
        (cost.cost_parameter, cost.block_size, cost.parallelization),
        (1 << 17, 8, 1)
    );
}

#[test]
fn guessable_passphrase_only_decrypts() {
    for weak in [
        &b"correct horse battery staple"[..],
        b"Correct-Horse-Battery-Staple!",
        b"passwordpassword",
        b"aaaaaaaaaaaaaaaaaaaaaaaa",
        b"0123456789abcdef",
        b"qwertyuiopasdfgh",
        b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5",
        b"django-insecure-9fj3k2l1m0n8b7v6",
    ] {
        let (_folder, path) = file(weak);
        let refused = Passphrase::from_file(&path).unwrap_err();
        assert!(matches!(refused, PassphraseError::Weak), "{refused}");
        assert!(Passphrase::from_file_to_open(&path).is_ok());
    }
    for strong in [
        &b"3Vp6mVwG1rY0q7Jr"[..],
        b"the passphrase of a test",
        b"K8q/3x0bq1Zt1oZ2c6c1b0S0jQ5n7m1A1c9y2kq3f0U=",
        &[0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    ] {
        let (_folder, path) = file(strong);
        assert!(Passphrase::from_file(&path).is_ok(), "{strong:?}");
    }
}

#[test]
fn debug_output_and_errors_have_no_passphrase() {
    assert_eq!(
        format!("{:?}", passphrase(b"the passphrase of a test")),
        "Passphrase(…)"
    );
    assert!(
        !refusal(b"hunter2").contains("hunter2"),
        "not even a refused passphrase"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn decryption_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(passphrase(b"the passphrase of a test").unwrap(&bytes).next().is_none());
    }
}
