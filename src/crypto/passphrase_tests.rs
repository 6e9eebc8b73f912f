//! Passphrases: what a file gives, and what is done with blocks that are not as they should be.

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn is_too_much(sealed: &[u8]) -> bool {
    obstacle(sealed) == Some(MaterialError::TooMuchWork)
}

const SECRET: &[u8] = b"what nobody else may read";

/// A file with these bytes, and the folder that it lies in.
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

/// A block that asks for this work and holds nothing of worth.
fn demanding(kdf: Kdf) -> Vec<u8> {
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
    demanding(
        pbes2::ScryptParams::from_params_and_salt(cost, &[2; 16])
            .unwrap()
            .into(),
    )
}

#[test]
fn a_passphrase_has_sixteen_to_4096_bytes() {
    assert!(refusal(b"").contains("holds a passphrase of 0 bytes: at least 16"));
    assert!(refusal(b"fifteen letters").contains("holds a passphrase of 15 bytes: at least 16"));
    assert!(
        refusal(b"fifteen letters\n").contains("15 bytes"),
        "a newline is no part of it"
    );
    assert!(refusal(&[b'\n'; 100]).contains("0 bytes"));
    let (_folder, path) = file(b"sixteen letters!");
    assert!(Passphrase::from_file_to_open(&path).is_ok());
    let (_folder, path) = file(&[b'x'; 4096]);
    assert!(Passphrase::from_file_to_open(&path).is_ok());
    assert_eq!(refusal(&[b'x'; 4097]), "holds more than 4096 bytes");
}

#[test]
fn a_file_that_is_not_there_is_no_passphrase() {
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
fn the_newline_that_an_editor_leaves_makes_no_other_passphrase() {
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
fn a_key_file_of_any_bytes_will_do() {
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
fn the_same_key_looks_different_each_time() {
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
fn a_block_that_is_damaged_opens_nothing_and_stops_nothing() {
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
    // A flipped bit of the text itself is not always found out here, but never gives the text.
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

/// Hundreds of gigabytes, hours: neither is asked of this machine, or this test would not end.
#[test]
fn a_block_that_asks_for_too_much_work_is_refused_at_once() {
    let passphrase = passphrase(b"the passphrase of a test");
    let hours = pbes2::Pbkdf2Params::hmac_sha256(90_000_000, &[2; 16]).unwrap();
    for sealed in [
        scrypt_of(30, 8, 1),
        scrypt_of(28, 8, 1),
        scrypt_of(19, 8, 1),
        scrypt_of(10, 8, 1000),
        demanding(hours.into()),
    ] {
        assert!(is_too_much(&sealed) && passphrase.unwrap(&sealed).next().is_none());
    }
    assert!(!is_too_much(&scrypt_of(17, 8, 1)) && !is_too_much(b"no block"));
}

#[test]
fn a_new_key_costs_what_owasp_recommends() {
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
fn a_guessable_passphrase_opens_keys_but_does_not_encrypt_them() {
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
fn what_it_is_is_not_shown() {
    assert_eq!(
        format!("{:?}", passphrase(b"the passphrase of a test")),
        "Passphrase(…)"
    );
    assert!(
        !refusal(b"hunter2").contains("hunter2"),
        "nor what would have been one"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(passphrase(b"the passphrase of a test").unwrap(&bytes).next().is_none());
    }
}
