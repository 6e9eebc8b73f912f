//! Tests of the key ring: signing, verification, state and publication.

use chrono::TimeDelta;
use latchkey_verifier::{ClaimNames, Family, Policy, Verifier};

use super::*;
use crate::{passphrase::WrappingCost, sign::TokenShape};
use latchkey_domain::claims::{AccessClaims, RefreshClaims};

const LIVES: MaxLifetimes = MaxLifetimes {
    access: TimeDelta::minutes(5),
    refresh: TimeDelta::days(1),
};

fn start() -> Moment {
    Moment::from_timestamp(1_800_000_000, 0).unwrap()
}

fn after(minutes: i64) -> Moment {
    start() + TimeDelta::minutes(minutes)
}

fn record(
    kind: Kind,
    algorithm: Algorithm,
    signs_from: Moment,
    passphrase: Option<&Passphrase>,
) -> KeyRecord {
    let (key, text) = SigningKey::generate(algorithm, kind, passphrase).unwrap();
    let facts = KeyMetadata {
        kid: key.kid().to_owned(),
        kind,
        algorithm,
        signs_from,
    };
    KeyRecord {
        place: facts.kid.clone(),
        facts,
        text,
    }
}

fn ring(records: &[KeyRecord]) -> KeyRing {
    KeyRing::open(records, &[], &KeyRing::default()).0
}

fn passphrase(text: &str) -> Passphrase {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Passphrase::from_file(file.path())
        .unwrap()
        .at(WrappingCost::new(10))
}

fn shape() -> TokenShape {
    TokenShape {
        access_typ: "at+jwt".to_owned(),
        audience: None,
        issuer: "https://auth.test".to_owned(),
        names: ClaimNames::default(),
    }
}

fn access_claims() -> AccessClaims {
    AccessClaims {
        subject: "ada".to_owned(),
        issued_at: start().timestamp(),
        expires_at: start().timestamp() + 300,
        jti: "0".repeat(32),
        sid: "s".to_owned(),
        session_epoch: 0,
        extra: Vec::new(),
    }
}

#[test]
fn each_algorithm_signs_and_verifies_without_publishing_secrets() {
    for algorithm in Algorithm::ALL {
        let ring = ring(&[record(Kind::Access, algorithm, start(), None)]);
        let token = shape()
            .access(
                ring.signer(Kind::Access, start()).unwrap(),
                &access_claims(),
            )
            .unwrap();
        let verifier = Verifier::new(ring.key_set().unwrap(), Policy::new("https://auth.test"));
        assert!(
            verifier.verify_access(&token, start().timestamp()).is_ok(),
            "{algorithm}"
        );

        let published: serde_json::Value = serde_json::from_slice(&ring.published().body).unwrap();
        let keys = published["keys"].as_array().unwrap();
        assert_eq!(
            keys.len(),
            usize::from(algorithm.family() != Family::Hmac),
            "{algorithm}"
        );
        for key in keys {
            let mut names: Vec<&str> = key
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect();
            names.sort_unstable();
            let expected: &[&str] = match algorithm.family() {
                Family::Ec => &["alg", "crv", "kid", "kty", "use", "x", "y"],
                Family::Ed => &["alg", "crv", "kid", "kty", "use", "x"],
                Family::Hmac | Family::Rsa => &["alg", "e", "kid", "kty", "n", "use"],
            };
            assert_eq!(
                (names.as_slice(), &key["use"], &key["alg"]),
                (expected, &json!("sig"), &json!(algorithm.name()))
            );
        }
    }
}

#[test]
fn signer_depends_on_the_time() {
    let records = [
        record(Kind::Access, Algorithm::Es256, start(), None),
        record(Kind::Access, Algorithm::EdDsa, after(15), None),
        record(Kind::Refresh, Algorithm::Hs256, start(), None),
    ];
    let ring = ring(&records);
    let signer = |minutes| {
        ring.signer(Kind::Access, after(minutes))
            .unwrap()
            .kid()
            .to_owned()
    };
    assert_eq!(signer(-1), records[0].facts.kid, "there is no other");
    assert_eq!(signer(14), records[0].facts.kid);
    assert_eq!(signer(15), records[1].facts.kid);
    assert_eq!(
        ring.published().algorithms,
        [Algorithm::EdDsa, Algorithm::Es256],
        "newest first"
    );
    let states: Vec<_> = ring
        .states(after(15), LIVES)
        .map(|(_, state)| state.as_str())
        .collect();
    assert_eq!(states, ["verifying", "signing", "signing"]);
}

#[test]
fn encrypted_ring_requires_its_passphrase() {
    let (right, wrong) = (
        passphrase("the right passphrase\n"),
        passphrase("some other passphrase"),
    );
    for algorithm in [
        Algorithm::Es256,
        Algorithm::Rs256,
        Algorithm::EdDsa,
        Algorithm::Hs256,
    ] {
        let record = record(Kind::Access, algorithm, start(), Some(&right));
        let text = record.text.expose_secret();
        assert!(text.starts_with("-----BEGIN ENCRYPTED "), "{text}");
        let records = [record];
        let open =
            |passphrases: &[Passphrase]| KeyRing::open(&records, passphrases, &KeyRing::default());
        let opened = open(&[wrong.clone(), right.clone()]).0;
        assert_eq!(
            opened.keys().next().unwrap().key.kid(),
            records[0].facts.kid
        );
        let refusal = |passphrases: &[Passphrase]| open(passphrases).1.join("\n");
        assert!(
            refusal(&[]).contains("set LATCHKEY_KEYS_PASSPHRASE_FILE"),
            "{}",
            refusal(&[])
        );
        assert!(
            refusal(std::slice::from_ref(&wrong)).contains("the passphrase is wrong"),
            "{}",
            refusal(std::slice::from_ref(&wrong))
        );
        // Known keys are not decrypted again.
        assert!(KeyRing::open(&records, &[], &opened).1.is_empty());
    }
}

#[test]
fn duplicate_key_is_reported() {
    let one = record(Kind::Access, Algorithm::Es256, start(), None);
    let wrong = KeyRing::open(&[one.clone(), one], &[], &KeyRing::default()).1;
    assert!(wrong[0].contains("is a duplicate"), "{wrong:?}");
}

#[test]
fn new_secret_does_not_change_refresh_tokens() {
    let records = [
        record(Kind::Refresh, Algorithm::Hs256, start(), None),
        record(Kind::Refresh, Algorithm::Hs256, after(15), None),
    ];
    let (old, both) = (ring(&records[..1]), ring(&records));
    let claims = RefreshClaims {
        subject: "ada".to_owned(),
        issued_at: after(10).timestamp(),
        expires_at: after(60).timestamp(),
        jti: "0".repeat(32),
        sid: "s".to_owned(),
        generation: 3,
        session_epoch: 0,
    };
    let token = |ring: &KeyRing| {
        shape()
            .refresh(ring.signer(Kind::Refresh, after(10)).unwrap(), &claims)
            .unwrap()
    };
    assert_eq!(
        token(&old),
        token(&both),
        "a new secret does not change the token"
    );
}
