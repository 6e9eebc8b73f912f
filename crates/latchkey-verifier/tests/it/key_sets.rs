//! Tests of key sets: usable, ignored and refused keys.

use latchkey_verifier::{
    Algorithm, Family, KeyError, KeySet, Kind, MAX_KEYS, Policy, Verifier, VerifyError,
    VerifyingKey,
};
use serde_json::{Value, json};

use crate::signer::{ISSUER, KID, NOW, Signer, changed, set};

pub(super) fn refusal(keys: &[Value]) -> KeyError {
    KeySet::from_jwks(&set(keys))
        .err()
        .unwrap_or_else(|| panic!("accepted: {keys:?}"))
}

/// Returns true if a token signed with this key is accepted with the set.
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
fn published_key_of_each_asymmetric_algorithm_is_accepted() {
    for signer in asymmetric() {
        assert!(knows(&[signer.jwk()], &signer), "{}", signer.algorithm);
        let bare = changed(signer.jwk(), &json!({ "use": null, "key_ops": ["verify"] }));
        assert!(knows(&[bare], &signer), "{}", signer.algorithm);
    }
}

#[test]
fn irrelevant_keys_are_ignored() {
    let ours = Signer::new(Algorithm::EdDsa);
    for (what, changes) in [
        ("without a kid", json!({ "kid": null })),
        ("with a number for a kid", json!({ "kid": 5 })),
        ("without an algorithm", json!({ "alg": null })),
        ("for another algorithm", json!({ "alg": "ES256K" })),
        ("for `none`", json!({ "alg": "none" })),
        ("for a misspelt algorithm", json!({ "alg": "eddsa" })),
        ("for encryption", json!({ "use": "enc" })),
        ("with a use that is not a string", json!({ "use": ["sig"] })),
        ("to sign with", json!({ "key_ops": ["sign"] })),
        (
            "with operations that are not a list",
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
        let ignored = changed(other.jwk(), &changes);
        assert!(
            !knows(std::slice::from_ref(&ignored), &other),
            "a key {what} was accepted"
        );
        assert!(
            knows(
                &[ignored, json!("not a key"), json!(null), ours.jwk()],
                &ours
            ),
            "{what}"
        );
    }
}

#[test]
fn private_member_is_refused() {
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
fn duplicate_kid_is_refused() {
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
fn number_of_keys_is_limited() {
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
fn other_text_than_a_key_set_is_refused() {
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
fn secret_needs_the_length_of_its_hash_and_an_hmac_algorithm() {
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
