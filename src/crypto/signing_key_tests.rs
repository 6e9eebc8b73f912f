//! Keys as texts: what goes round, and what is refused because it is another key, a weak one, or none.

use super::*;
use crate::domain::time::Moment;

/// 1024 bits, made for this test and used nowhere else.
const WEAK_RSA: &str = include_str!("weak_rsa_test_key.pem");

fn made(algorithm: Algorithm) -> (SigningKey, String) {
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
fn a_key_of_every_algorithm_comes_back_as_it_was_made() {
    for algorithm in Algorithm::ALL {
        let (made, text) = made(algorithm);
        let read = SigningKey::from_pem(algorithm, Kind::Access, &text).unwrap();
        assert_eq!(
            (read.kid(), read.algorithm(), read.kind()),
            (made.kid(), algorithm, Kind::Access)
        );
        assert_eq!(
            (read.public_jwk(), read.public_pem()),
            (made.public_jwk(), made.public_pem())
        );
        assert!(read.verifying_key().is_ok(), "{algorithm}");
    }
}

#[test]
fn a_key_under_the_name_of_another_is_refused() {
    let (one, (other, text)) = (made(Algorithm::Es256).0, made(Algorithm::Es256));
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
fn a_key_for_another_algorithm_is_refused() {
    for (actual, said) in [
        (Algorithm::Es256, Algorithm::Rs256),
        (Algorithm::Rs256, Algorithm::Es256),
        (Algorithm::Es256, Algorithm::Es384),
        (Algorithm::Es384, Algorithm::Es256),
        (Algorithm::Es256, Algorithm::EdDsa),
        (Algorithm::EdDsa, Algorithm::Es256),
        (Algorithm::EdDsa, Algorithm::Ps512),
    ] {
        assert_eq!(
            refusal(said, &made(actual).1),
            MaterialError::NotForAlgorithm(said),
            "{actual} as {said}"
        );
    }
    // A public key's algorithm has no use for a secret, and a secret none for a private key.
    for (actual, said) in [
        (Algorithm::Hs256, Algorithm::Es256),
        (Algorithm::Es256, Algorithm::Hs256),
    ] {
        assert!(
            matches!(refusal(said, &made(actual).1), MaterialError::Label(_)),
            "{actual} as {said}"
        );
    }
}

#[test]
fn a_text_that_is_not_one_whole_key_is_refused_without_telling_what_it_holds() {
    let (_, good) = made(Algorithm::Es256);
    for text in [
        "",
        "\0\0\0\0",
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
        &good[..good.len() / 2],
        &good[..good.len() - 10],
        &good.repeat(2),
        &good.replace("PRIVATE", "PUBLIC"),
        &good.replace("PRIVATE", "EC PRIVATE"),
    ] {
        let reason = refusal(Algorithm::Es256, text).to_string();
        assert!(
            !reason.contains("MIG") && reason.lines().count() == 1,
            "{reason}"
        );
    }
    assert!(SigningKey::from_pem(Algorithm::Es256, Kind::Access, &good).is_ok());
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
fn an_encrypted_key_is_said_to_be_one_whether_it_can_be_opened_or_not() {
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
    assert!(!key_pem::is_encrypted(&made(Algorithm::Es256).1));
    let open = |passphrases: &[Passphrase]| {
        SigningKey::open(&facts(Algorithm::Es256, key.kid()), &text, passphrases)
    };
    assert_eq!(open(&[]).unwrap_err(), MaterialError::Encrypted);
    assert_eq!(
        open(std::slice::from_ref(&wrong)).unwrap_err(),
        MaterialError::Passphrase
    );
    assert_eq!(open(&[wrong, right.clone()]).unwrap().0.kid(), key.kid());
    // With the right passphrase, under another name: it is no less wrong.
    let strange = SigningKey::open(&facts(Algorithm::Es256, "x"), &text, &[right]);
    assert_eq!(strange.unwrap_err(), MaterialError::Passphrase);
}

#[test]
fn a_secret_has_no_public_part_and_a_key_of_refresh_tokens_shows_none() {
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
    let (key, text) = made(Algorithm::Es256);
    let public = key.public_pem().unwrap();
    assert!(
        public.starts_with("-----BEGIN PUBLIC KEY-----\n")
            && !text.contains(public.lines().nth(1).unwrap())
    );
}

#[test]
fn a_key_is_not_shown() {
    for algorithm in Algorithm::ALL {
        let (key, _) = made(algorithm);
        assert_eq!(
            format!("{key:?}"),
            format!("SigningKey({algorithm} {})", key.kid())
        );
    }
}
