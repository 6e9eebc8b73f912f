//! Tests of tokens: each algorithm, and the limits that the key sets for algorithm and kind.

use latchkey_verifier::{Algorithm, KeySet, Kind, Policy, Verifier, VerifyError, VerifyingKey};
use serde_json::json;

use crate::signer::{ISSUER, KID, NOW, Signer, claims, encode};

pub(super) fn signer() -> Signer {
    Signer::new(Algorithm::Es256)
}

#[track_caller]
pub(super) fn verdict(signer: &Signer, token: &str) -> Option<VerifyError> {
    let verdict = signer.verifier().verify_access(token, NOW).err();
    assert_eq!(
        signer.warm_verifier().verify_access(token, NOW).err(),
        verdict,
        "the header cache must not change the result"
    );
    verdict
}

#[test]
fn cached_header_does_not_validate_other_tokens() {
    let (signer, other_signer) = (signer(), signer());
    let verifier = signer.verifier();
    // More headers than the cache holds.
    for number in 0..20 {
        let changes = json!({ "n": number });
        for _ in 0..2 {
            assert!(
                verifier
                    .verify_access(&signer.headed(&changes), NOW)
                    .is_ok()
            );
            let forged = verifier.verify_access(&other_signer.headed(&changes), NOW);
            assert_eq!(forged.err(), Some(VerifyError::Signature));
        }
        let refused =
            verifier.verify_access(&signer.headed(&json!({ "n": number, "typ": "JWT" })), NOW);
        assert_eq!(refused.err(), Some(VerifyError::Typ));
    }
}

#[test]
fn each_algorithm_survives_a_round_trip() {
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.name().parse(), Ok(algorithm));
        let signer = Signer::new(algorithm);
        let claims = signer
            .verifier()
            .verify_access(&signer.token(&json!({})), NOW)
            .unwrap();
        assert_eq!(
            (claims.subject(), claims.expires_at()),
            (Some("ada"), Some(NOW + 300)),
            "{algorithm}"
        );
        let other_signer = match algorithm.name().as_bytes() {
            // These algorithms share a key in the tests, so there is no other key.
            [b'H' | b'R' | b'P', ..] => continue,
            _ => Signer::new(algorithm),
        };
        assert_eq!(
            verdict(&signer, &other_signer.token(&json!({}))),
            Some(VerifyError::Signature),
            "{algorithm}"
        );
    }
}

#[test]
fn key_is_limited_to_its_algorithm() {
    for one in Algorithm::ALL {
        for other in Algorithm::ALL.into_iter().filter(|other| *other != one) {
            let token = Signer::new(other).token(&json!({}));
            assert_eq!(
                verdict(&Signer::new(one), &token),
                Some(VerifyError::Algorithm),
                "{other} for {one}"
            );
            // With the expected algorithm in the header, the signature is not valid.
            let renamed = Signer::new(other).headed(&json!({ "alg": one.name() }));
            assert_eq!(
                verdict(&Signer::new(one), &renamed),
                Some(VerifyError::Signature),
                "{other} as {one}"
            );
        }
    }
}

#[test]
fn kind_is_determined_by_the_key() {
    let secret = [9; 32];
    let mut keys = KeySet::new();
    keys.insert(
        KID,
        VerifyingKey::from_secret(Algorithm::Hs256, Kind::Refresh, &secret).unwrap(),
    )
    .unwrap();
    let verifier = Verifier::new(keys, Policy::new(ISSUER));
    let token = |typ: &str, token_type: &str| {
        let header = json!({ "alg": "HS256", "typ": typ, "kid": KID });
        let mut claims = claims();
        claims["token_type"] = json!(token_type);
        claims["aud"] = json!(ISSUER);
        let input = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            encode(claims.to_string().as_bytes())
        );
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
        format!(
            "{input}.{}",
            encode(aws_lc_rs::hmac::sign(&key, input.as_bytes()).as_ref())
        )
    };
    assert_eq!(
        verifier
            .check(&token("rt+jwt", "refresh"), NOW)
            .map(|checked| checked.kind()),
        Ok(Kind::Refresh)
    );
    assert_eq!(
        verifier
            .verify_access(&token("rt+jwt", "access"), NOW)
            .err(),
        Some(VerifyError::WrongType)
    );
    assert_eq!(
        verifier
            .verify_access(&token("at+jwt", "access"), NOW)
            .err(),
        Some(VerifyError::Typ)
    );
    assert_eq!(
        verifier
            .verify_access(&token("rt+jwt", "refresh"), NOW)
            .err(),
        Some(VerifyError::WrongType)
    );
}
