//! What is a usable key set, what is passed over, and what is refused at once rather than at the first token.

use latchkey_verifier::{
    Algorithm, Family, KeyError, KeySet, Kind, MAX_KEYS, Policy, Verifier, VerifyError,
    VerifyingKey,
};
use serde_json::{Value, json};

use crate::signer::{ISSUER, KID, NOW, Signer, changed, set};

pub(super) fn refusal(keys: &[Value]) -> KeyError {
    KeySet::from_jwks(&set(keys))
        .err()
        .unwrap_or_else(|| panic!("taken: {keys:?}"))
}

/// Whether a token of this key is accepted with the set.
fn knows(keys: &[Value], signer: &Signer) -> bool {
    let keys = KeySet::from_jwks(&set(keys)).unwrap_or_else(|error| panic!("{error}: {keys:?}"));
    match Verifier::new(keys, Policy::new(ISSUER)).verify_access(&signer.token(&json!({})), NOW) {
        Ok(_) => true,
        Err(refusal) => {
            assert_eq!(refusal, VerifyError::UnknownKey);
            false
        }
    }
}

fn asymmetric() -> impl Iterator<Item = Signer> {
    Algorithm::ALL
        .into_iter()
        .filter(|algorithm| algorithm.family() != Family::Hmac)
        .map(Signer::new)
}

#[test]
fn a_published_key_of_every_asymmetric_algorithm_is_taken() {
    for signer in asymmetric() {
        assert!(knows(&[signer.jwk()], &signer), "{}", signer.algorithm);
        let bare = changed(signer.jwk(), &json!({ "use": null, "key_ops": ["verify"] }));
        assert!(knows(&[bare], &signer), "{}", signer.algorithm);
    }
}

#[test]
fn keys_that_are_not_meant_for_us_are_passed_over() {
    let ours = Signer::new(Algorithm::EdDsa);
    for (what, changes) in [
        ("without a kid", json!({ "kid": null })),
        ("with a number for a kid", json!({ "kid": 5 })),
        ("without an algorithm", json!({ "alg": null })),
        ("for another algorithm", json!({ "alg": "ES256K" })),
        ("for `none`", json!({ "alg": "none" })),
        ("for a misspelt algorithm", json!({ "alg": "eddsa" })),
        ("for encryption", json!({ "use": "enc" })),
        ("with a use that is no text", json!({ "use": ["sig"] })),
        ("to sign with", json!({ "key_ops": ["sign"] })),
        (
            "with operations that are no list",
            json!({ "key_ops": "verify" }),
        ),
        (
            "to verify with, for encryption",
            json!({ "use": "enc", "key_ops": ["verify"] }),
        ),
        (
            "for signatures, to encrypt with",
            json!({ "use": "sig", "key_ops": ["encrypt"] }),
        ),
    ] {
        let other = Signer::new(Algorithm::EdDsa);
        let passed_over = changed(other.jwk(), &changes);
        assert!(
            !knows(std::slice::from_ref(&passed_over), &other),
            "a key {what} was taken"
        );
        assert!(
            knows(
                &[passed_over, json!("no key at all"), json!(null), ours.jwk()],
                &ours
            ),
            "{what}"
        );
    }
}

#[test]
fn a_private_member_in_a_public_set_is_an_alarm() {
    let private = KeyError::PrivateMember(KID.to_owned());
    for signer in asymmetric() {
        for name in ["d", "k", "p", "q", "dp", "dq", "qi", "oth"] {
            for value in [json!("AQAB"), json!([])] {
                assert_eq!(
                    refusal(&[changed(signer.jwk(), &json!({ name: value }))]),
                    private
                );
            }
        }
    }
    for name in ["HS256", "HS384", "HS512"] {
        assert_eq!(
            refusal(&[Signer::new(name.parse().unwrap()).jwk()]),
            private
        );
    }
}

#[test]
fn one_kid_is_one_key() {
    let (first, second) = (
        Signer::new(Algorithm::Es256).jwk(),
        Signer::new(Algorithm::EdDsa).jwk(),
    );
    assert_eq!(
        refusal(&[first.clone(), second]),
        KeyError::DuplicateKid(KID.to_owned())
    );
    assert_eq!(
        refusal(&[first.clone(), first]),
        KeyError::DuplicateKid(KID.to_owned())
    );
}

#[test]
fn a_set_is_bounded() {
    let jwk = Signer::new(Algorithm::EdDsa).jwk();
    let many = |count: usize| -> Vec<Value> {
        (0..count)
            .map(|index| changed(jwk.clone(), &json!({ "kid": index.to_string() })))
            .collect()
    };
    assert!(KeySet::from_jwks(&set(&many(MAX_KEYS))).is_ok());
    assert_eq!(refusal(&many(MAX_KEYS + 1)), KeyError::TooMany);
}

#[test]
fn what_is_no_key_set_is_refused() {
    let twice = format!(
        r#"{{"keys":[{}],"keys":[]}}"#,
        Signer::new(Algorithm::Es256).jwk()
    );
    let two_types = set(&[Signer::new(Algorithm::Es256).jwk()]).replacen(
        "\"kty\"",
        "\"kty\":\"RSA\",\"kty\"",
        1,
    );
    let deep = format!(r#"{{"keys":{}{}}}"#, "[".repeat(500), "]".repeat(500));
    for text in [
        "",
        "[]",
        "null",
        "{}",
        r#"{"keys":null}"#,
        r#"{"keys":{}}"#,
        r#"{"keys":[]} x"#,
        "\u{feff}{\"keys\":[]}",
    ]
    .into_iter()
    .chain([twice.as_str(), &two_types, &deep])
    {
        assert_eq!(
            KeySet::from_jwks(text).err(),
            Some(KeyError::NotAKeySet),
            "{text}"
        );
    }
    assert!(KeySet::from_jwks(r#"{"keys":[]}"#).is_ok());
}

#[test]
fn a_secret_is_as_long_as_its_hash_and_for_hmac_alone() {
    for (algorithm, least) in [
        (Algorithm::Hs256, 32),
        (Algorithm::Hs384, 48),
        (Algorithm::Hs512, 64),
    ] {
        let secret = |length| VerifyingKey::from_secret(algorithm, Kind::Refresh, &vec![1; length]);
        assert_eq!(
            secret(least - 1).err(),
            Some(KeyError::ShortSecret { algorithm, least })
        );
        assert!(secret(least).is_ok());
    }
    for signer in asymmetric() {
        assert!(VerifyingKey::from_secret(signer.algorithm, Kind::Access, &[1; 64]).is_err());
    }
}
