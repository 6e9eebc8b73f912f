//! Tests of keys as PEM text, and of refused keys.

use super::*;
use latchkey_domain::time::Moment;

/// RSA key of 1024 bits, generated for this test and not used elsewhere.
const WEAK_RSA: &str = include_str!("weak_rsa_test_key.pem");

fn generated(algorithm: Algorithm) -> (SigningKey, String) {
    let (key, text) = SigningKey::generate(algorithm, Kind::Access, None).unwrap();
    (key, text.expose_secret().to_owned())
}

fn facts(algorithm: Algorithm, kid: &str) -> KeyMetadata {
    let signs_from = Moment::from_timestamp(1_800_000_000, 0).unwrap();
    KeyMetadata {
        kid: kid.to_owned(),
        kind: Kind::Access,
        algorithm,
        signs_from,
    }
}

fn refusal(algorithm: Algorithm, text: &str) -> MaterialError {
    SigningKey::from_pem(algorithm, Kind::Access, text).unwrap_err()
}

#[test]
fn key_of_each_algorithm_survives_a_round_trip() {
    for algorithm in Algorithm::ALL {
        let (generated, text) = generated(algorithm);
        let read = SigningKey::from_pem(algorithm, Kind::Access, &text).unwrap();
        assert_eq!(
            (read.kid(), read.algorithm(), read.kind()),
            (generated.kid(), algorithm, Kind::Access)
        );
        assert_eq!(
            (read.public_jwk(), read.public_pem()),
            (generated.public_jwk(), generated.public_pem())
        );
        assert!(read.verifying_key().is_ok(), "{algorithm}");
    }
}

#[test]
fn key_with_the_name_of_another_is_refused() {
    let (one, (other, text)) = (generated(Algorithm::Es256).0, generated(Algorithm::Es256));
    let opened = SigningKey::open(
        &facts(Algorithm::Es256, one.kid()),
        &text.clone().into(),
        &[],
    );
    assert_eq!(
        opened.unwrap_err(),
        MaterialError::OtherKey(other.kid().to_owned())
    );
    assert!(SigningKey::open(&facts(Algorithm::Es256, other.kid()), &text.into(), &[]).is_ok());
}

#[test]
fn key_for_another_algorithm_is_refused() {
    for (actual, requested) in [
        (Algorithm::Es256, Algorithm::Rs256),
        (Algorithm::Rs256, Algorithm::Es256),
        (Algorithm::Es256, Algorithm::Es384),
        (Algorithm::Es384, Algorithm::Es256),
        (Algorithm::Es256, Algorithm::EdDsa),
        (Algorithm::EdDsa, Algorithm::Es256),
        (Algorithm::EdDsa, Algorithm::Ps512),
    ] {
        assert_eq!(
            refusal(requested, &generated(actual).1),
            MaterialError::NotForAlgorithm(requested),
            "{actual} as {requested}"
        );
    }
    // Secrets and private keys have different labels.
    for (actual, requested) in [
        (Algorithm::Hs256, Algorithm::Es256),
        (Algorithm::Es256, Algorithm::Hs256),
    ] {
        assert!(
            matches!(
                refusal(requested, &generated(actual).1),
                MaterialError::Label(_)
            ),
            "{actual} as {requested}"
        );
    }
}

#[test]
fn malformed_text_is_refused_without_revealing_it() {
    let (_, valid) = generated(Algorithm::Es256);
    for text in [
        "",
        "\0\0\0\0",
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
        &valid[..valid.len() / 2],
        &valid[..valid.len() - 10],
        &valid.repeat(2),
        &valid.replace("PRIVATE", "PUBLIC"),
        &valid.replace("PRIVATE", "EC PRIVATE"),
    ] {
        let reason = refusal(Algorithm::Es256, text).to_string();
        assert!(
            !reason.contains("MIG") && reason.lines().count() == 1,
            "{reason}"
        );
    }
    assert!(SigningKey::from_pem(Algorithm::Es256, Kind::Access, &valid).is_ok());
}

#[test]
fn weak_keys_are_refused() {
    assert_eq!(refusal(Algorithm::Rs256, WEAK_RSA), MaterialError::WeakRsa);
    for (algorithm, least) in [
        (Algorithm::Hs256, 32),
        (Algorithm::Hs384, 48),
        (Algorithm::Hs512, 64),
    ] {
        let secret = |length| pem::encode(&Pem::new("LATCHKEY SHARED SECRET", vec![1; length]));
        let short = MaterialError::ShortSecret {
            algorithm,
            got: least - 1,
            least,
        };
        assert_eq!(refusal(algorithm, &secret(least - 1)), short);
        assert!(SigningKey::from_pem(algorithm, Kind::Access, &secret(least)).is_ok());
    }
}

#[test]
fn encrypted_key_requires_the_right_passphrase() {
    let folder = tempfile::tempdir().unwrap();
    let passphrase = |text: &str| {
        let path = folder.path().join("passphrase");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        Passphrase::from_file(&path)
            .unwrap()
            .at(passphrase::WrappingCost::new(10))
    };
    let (right, wrong) = (
        passphrase("the right passphrase"),
        passphrase("some other passphrase"),
    );
    let (key, text) = SigningKey::generate(Algorithm::Es256, Kind::Access, Some(&right)).unwrap();
    assert!(key_pem::is_encrypted(text.expose_secret()));
    assert!(!key_pem::is_encrypted(&generated(Algorithm::Es256).1));
    let open = |passphrases: &[Passphrase]| {
        SigningKey::open(&facts(Algorithm::Es256, key.kid()), &text, passphrases)
    };
    assert_eq!(open(&[]).unwrap_err(), MaterialError::Encrypted);
    assert_eq!(
        open(std::slice::from_ref(&wrong)).unwrap_err(),
        MaterialError::Passphrase
    );
    assert_eq!(open(&[wrong, right.clone()]).unwrap().0.kid(), key.kid());
    // With the right passphrase, but the name of another key.
    let renamed = SigningKey::open(&facts(Algorithm::Es256, "x"), &text, &[right]);
    assert_eq!(renamed.unwrap_err(), MaterialError::Passphrase);
}

#[test]
fn secrets_and_refresh_keys_have_no_public_part() {
    for (algorithm, kind) in [
        (Algorithm::Hs256, Kind::Access),
        (Algorithm::Hs256, Kind::Refresh),
        (Algorithm::Es256, Kind::Refresh),
    ] {
        let (key, _) = SigningKey::generate(algorithm, kind, None).unwrap();
        assert_eq!(
            (key.public_jwk(), key.public_pem()),
            (None, None),
            "{algorithm} {kind:?}"
        );
    }
    let (key, text) = generated(Algorithm::Es256);
    let public = key.public_pem().unwrap();
    assert!(
        public.starts_with("-----BEGIN PUBLIC KEY-----\n")
            && !text.contains(public.lines().nth(1).unwrap())
    );
}

#[test]
fn debug_output_has_no_key_material() {
    for algorithm in Algorithm::ALL {
        let (key, _) = generated(algorithm);
        assert_eq!(
            format!("{key:?}"),
            format!("SigningKey({algorithm} {})", key.kid())
        );
    }
}
