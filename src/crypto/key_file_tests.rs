//! Key files: what goes round, and what stops a start, with one line that says what to do.

use std::{fs::Permissions, os::unix::fs::symlink};

use tempfile::TempDir;

use super::*;

/// 1024 bits, made for this test and used nowhere else.
const WEAK_RSA: &str = include_str!("weak_rsa_test_key.pem");
/// 2048 bits, of two primes chosen as the broken generator chose them; made for this test and used nowhere else.
const ROCA_RSA: &str = include_str!("roca_rsa_test_key.pem");

fn now() -> Moment {
    Moment::from_timestamp(1_800_000_000, 250_000_000).unwrap()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn made(folder: &TempDir, algorithm: Algorithm) -> StoredKey {
    create(folder.path(), Kind::Access, algorithm, now()).unwrap()
}

/// Writes a key file by hand, as an operator might.
fn plant(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    write(&path, bytes).unwrap();
    path
}

/// Why the directory is refused: one line that names the file.
#[track_caller]
fn refusal(folder: &TempDir) -> KeyFileError {
    let error = read_all(folder.path()).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with(folder.path().to_str().unwrap()) && text.lines().count() == 1, "{text}");
    error
}

#[track_caller]
fn material(folder: &TempDir) -> MaterialError {
    match refusal(folder) {
        KeyFileError::Material(_, reason) => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn a_key_of_every_algorithm_comes_back_as_it_was_made() {
    for algorithm in Algorithm::ALL {
        let folder = folder();
        let made = made(&folder, algorithm);
        let [read] = &read_all(folder.path()).unwrap()[..] else { panic!("not one key") };
        assert_eq!((read.created_at, &read.path), (made.created_at, &made.path));
        assert_eq!((read.key.kid(), read.key.algorithm()), (made.key.kid(), algorithm));
        assert_eq!((read.key.kind(), read.key.public_jwk()), (Kind::Access, made.key.public_jwk()));
        read.key.verifying_key().unwrap();
        let files = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!((files, fs::metadata(&read.path).unwrap().permissions().mode() & 0o777), (1, 0o600), "{algorithm}");
    }
}

#[test]
fn a_missing_directory_has_no_keys() {
    assert!(read_all(&folder().path().join("none")).unwrap().is_empty());
}

#[test]
fn only_key_files_are_looked_at() {
    let folder = folder();
    made(&folder, Algorithm::EdDsa);
    for name in [".lock", "README", "20270115T080000Z-access-EdDSA-x.draft", "key.pem.bak"] {
        plant(&folder, name, b"?");
    }
    assert_eq!(read_all(folder.path()).unwrap().len(), 1);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = folder();
    let path = made(&folder, Algorithm::EdDsa).path;
    for mode in [0o644, 0o640, 0o604, 0o660, 0o610, 0o601, 0o777] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert!(matches!(refusal(&folder), KeyFileError::Mode(_, found) if found == mode), "{mode:o}");
    }
    assert!(refusal(&folder).to_string().contains("chmod 600"));
    for mode in [0o600, 0o400] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert!(read_all(folder.path()).is_ok(), "{mode:o}");
    }
}

#[test]
fn a_link_is_as_good_or_as_bad_as_the_file_behind_it() {
    let (elsewhere, folder) = (folder(), folder());
    let path = made(&elsewhere, Algorithm::EdDsa).path;
    symlink(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    assert_eq!(read_all(folder.path()).unwrap().len(), 1);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(refusal(&folder), KeyFileError::Mode(..)));
    fs::remove_file(&path).unwrap();
    assert!(matches!(refusal(&folder), KeyFileError::Io(..)));
}

#[test]
fn a_name_that_does_not_say_what_it_is_is_refused() {
    for name in [
        "key.pem",
        "20270115T080000Z-access-ES256.pem",
        "20270115T080000Z-access-none-x.pem",
        "20270115T080000Z-access-es256-x.pem",
        "20270115T080000Z-reset-HS256-x.pem",
        "20270115T080000Z-refresh-ES256-x.pem",
        "20270115T080000Z-refresh-HS512-x.pem",
        "20271315T080000Z-access-ES256-x.pem",
        "2027-01-15T08:00:00Z-access-ES256-x.pem",
    ] {
        let folder = folder();
        plant(&folder, name, b"");
        assert!(matches!(refusal(&folder), KeyFileError::Name(_)), "{name}");
    }
}

#[test]
fn a_key_under_the_name_of_another_is_refused() {
    let (first, second) = (folder(), folder());
    let (one, other) = (made(&first, Algorithm::Es256), made(&second, Algorithm::Es256));
    fs::rename(&other.path, &one.path).unwrap();
    assert!(matches!(refusal(&first), KeyFileError::OtherKey(_, kid) if kid == other.key.kid()));
}

#[test]
fn a_key_in_a_file_for_another_algorithm_is_refused() {
    for (actual, said) in [
        (Algorithm::Es256, Algorithm::Rs256),
        (Algorithm::Rs256, Algorithm::Es256),
        (Algorithm::Es256, Algorithm::Es384),
        (Algorithm::Es384, Algorithm::Es256),
        (Algorithm::Es256, Algorithm::EdDsa),
        (Algorithm::EdDsa, Algorithm::Es256),
        (Algorithm::EdDsa, Algorithm::Ps512),
    ] {
        let folder = folder();
        let path = made(&folder, actual).path;
        let name = path.file_name().unwrap().to_str().unwrap().replace(actual.name(), said.name());
        fs::rename(&path, folder.path().join(name)).unwrap();
        assert_eq!(material(&folder), MaterialError::NotForAlgorithm(said), "{actual} as {said}");
    }
    // A public key's algorithm has no use for a secret, and a secret none for a private key.
    for (actual, said) in [(Algorithm::Hs256, Algorithm::Es256), (Algorithm::Es256, Algorithm::Hs256)] {
        let folder = folder();
        let path = made(&folder, actual).path;
        let name = path.file_name().unwrap().to_str().unwrap().replace(actual.name(), said.name());
        fs::rename(&path, folder.path().join(name)).unwrap();
        assert!(matches!(material(&folder), MaterialError::Label(_)), "{actual} as {said}");
    }
}

#[test]
fn a_file_that_is_not_one_whole_key_is_refused() {
    let good = SigningKey::generate(Algorithm::Es256, Kind::Access).unwrap();
    let name = format!("20270115T080000Z-access-ES256-{}.pem", good.0.kid());
    let text = good.1.as_str();
    let twice = format!("{text}{text}");
    let public = text.replace("PRIVATE", "PUBLIC");
    let sec1 = text.replace("PRIVATE", "EC PRIVATE");
    let long = format!("{}{text}", " ".repeat(MAX_LENGTH));
    for bytes in [
        &b""[..],
        b"\0\0\0\0",
        b"\xff\xfe-----BEGIN",
        b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
        &text.as_bytes()[..text.len() / 2],
        &text.as_bytes()[..text.len() - 10],
        twice.as_bytes(),
        public.as_bytes(),
        sec1.as_bytes(),
        long.as_bytes(),
    ] {
        let folder = folder();
        plant(&folder, &name, bytes);
        let reason = material(&folder).to_string();
        assert!(!reason.contains("MIG"), "{reason}");
    }
    let folder = folder();
    plant(&folder, &name, text.as_bytes());
    assert_eq!(read_all(folder.path()).unwrap().len(), 1);
}

#[test]
fn weak_keys_are_refused() {
    let weak = folder();
    plant(&weak, "20270115T080000Z-access-RS256-x.pem", WEAK_RSA.as_bytes());
    assert_eq!(material(&weak), MaterialError::WeakRsa);
    let roca = folder();
    plant(&roca, "20270115T080000Z-access-PS384-x.pem", ROCA_RSA.as_bytes());
    assert_eq!(material(&roca), MaterialError::RocaRsa);
    for (algorithm, least) in [(Algorithm::Hs256, 32), (Algorithm::Hs384, 48), (Algorithm::Hs512, 64)] {
        let secret = |length| pem::encode(&pem::Pem::new("LATCHKEY SHARED SECRET", vec![1; length]));
        let short = folder();
        plant(&short, &format!("20270115T080000Z-access-{algorithm}-x.pem"), secret(least - 1).as_bytes());
        assert_eq!(material(&short), MaterialError::ShortSecret { algorithm, got: least - 1, least });
        assert!(SigningKey::from_pem(algorithm, Kind::Access, &secret(least)).is_ok());
    }
}

#[test]
fn a_directory_in_the_place_of_a_key_is_an_error_and_no_crash() {
    let folder = folder();
    let path = folder.path().join("20270115T080000Z-access-ES256-x.pem");
    fs::DirBuilder::new().mode(0o700).create(path).unwrap();
    assert!(matches!(refusal(&folder), KeyFileError::Io(..)));
}

#[test]
fn a_key_is_not_shown() {
    for algorithm in Algorithm::ALL {
        let folder = folder();
        let made = made(&folder, algorithm);
        let kid = made.key.kid().to_owned();
        assert_eq!(format!("{:?}", made.key), format!("SigningKey({algorithm} {kid})"));
    }
    assert!(SigningKey::generate(Algorithm::Hs256, Kind::Access).unwrap().0.public_jwk().is_none());
    assert!(SigningKey::generate(Algorithm::Hs256, Kind::Refresh).unwrap().0.public_jwk().is_none());
}
