//! Tests of claims: each refusal and its cause, dates, issuer and audience.

use latchkey_verifier::{MAX_TOKEN_LENGTH, Policy, Verifier, VerifyError};
use serde_json::{Value, json};

use crate::{
    signer::{ISSUER, NOW, claims, decode},
    tokens::{signer, verdict},
};

#[test]
#[expect(clippy::too_many_lines, reason = "a table of all refusals")]
fn each_refusal_has_its_cause() {
    let s = signer();
    for (token, refusal, cause) in [
        (
            s.headed(&json!({ "kid": null })),
            VerifyError::UnknownKey,
            "unknown_key",
        ),
        (
            s.headed(&json!({ "kid": 5 })),
            VerifyError::Header,
            "header",
        ),
        (
            s.headed(&json!({ "crit": [] })),
            VerifyError::Header,
            "header",
        ),
        (
            s.headed(&json!({ "b64": true })),
            VerifyError::Header,
            "header",
        ),
        (
            s.headed(&json!({ "typ": null })),
            VerifyError::Typ,
            "wrong_type",
        ),
        (
            s.headed(&json!({ "typ": "AT+JWT" })),
            VerifyError::Typ,
            "wrong_type",
        ),
        (
            s.headed(&json!({ "typ": "rt+jwt" })),
            VerifyError::Typ,
            "wrong_type",
        ),
        (
            s.headed(&json!({ "typ": ["at+jwt"] })),
            VerifyError::Header,
            "header",
        ),
        (
            s.token(&json!({ "exp": null })),
            VerifyError::MissingExpiry,
            "no_expiry",
        ),
        (
            s.token(&json!({ "exp": NOW })),
            VerifyError::Expired,
            "expired",
        ),
        (
            s.token(&json!({ "exp": 1_800_000_000.9 })),
            VerifyError::Expired,
            "expired",
        ),
        (
            s.token(&json!({ "exp": -1 })),
            VerifyError::Expired,
            "expired",
        ),
        (
            s.token(&json!({ "exp": i64::MIN })),
            VerifyError::Expired,
            "expired",
        ),
        (
            s.token(&json!({ "exp": "1900000000" })),
            VerifyError::Claim("exp"),
            "claim",
        ),
        (
            s.token(&json!({ "exp": u64::MAX })),
            VerifyError::Claim("exp"),
            "claim",
        ),
        (
            s.token(&json!({ "exp": 1e300 })),
            VerifyError::Claim("exp"),
            "claim",
        ),
        (
            s.token(&json!({ "exp": [NOW + 300] })),
            VerifyError::Claim("exp"),
            "claim",
        ),
        (
            s.token(&json!({ "iat": NOW + 3 })),
            VerifyError::NotYetValid,
            "not_yet_valid",
        ),
        (
            s.token(&json!({ "nbf": NOW + 1 })),
            VerifyError::NotYetValid,
            "not_yet_valid",
        ),
        (
            s.token(&json!({ "nbf": "0" })),
            VerifyError::Claim("nbf"),
            "claim",
        ),
        (
            s.token(&json!({ "iat": false })),
            VerifyError::Claim("iat"),
            "claim",
        ),
        (
            s.token(&json!({ "iss": null })),
            VerifyError::Issuer,
            "issuer",
        ),
        (
            s.token(&json!({ "iss": [ISSUER] })),
            VerifyError::Issuer,
            "issuer",
        ),
        (
            s.token(&json!({ "iss": format!("{ISSUER}/") })),
            VerifyError::Issuer,
            "issuer",
        ),
        (
            s.token(&json!({ "iss": &ISSUER[..ISSUER.len() - 1] })),
            VerifyError::Issuer,
            "issuer",
        ),
        (
            s.token(&json!({ "sub": 5 })),
            VerifyError::Claim("sub"),
            "claim",
        ),
        (
            s.token(&json!({ "jti": 5 })),
            VerifyError::Claim("jti"),
            "claim",
        ),
        (
            s.token(&json!({ "jti": null })),
            VerifyError::MissingId,
            "no_id",
        ),
        (
            s.token(&json!({ "token_type": null })),
            VerifyError::MissingType,
            "no_type",
        ),
        (
            s.token(&json!({ "token_type": "refresh" })),
            VerifyError::WrongType,
            "wrong_type",
        ),
        (
            s.token(&json!({ "token_type": "Access" })),
            VerifyError::WrongType,
            "wrong_type",
        ),
        (
            s.token(&json!({ "token_type": ["access"] })),
            VerifyError::WrongType,
            "wrong_type",
        ),
        (
            s.token(&json!({ "filler": "x".repeat(MAX_TOKEN_LENGTH) })),
            VerifyError::TooLong,
            "too_long",
        ),
    ] {
        assert_eq!(
            verdict(&s, &token),
            Some(refusal),
            "{}",
            String::from_utf8_lossy(&decode(token.split('.').nth(1).unwrap()))
        );
        assert_eq!(refusal.cause(), cause);
    }
}

#[test]
fn null_is_a_value_of_the_wrong_type() {
    let s = signer();
    for (name, refusal) in [
        ("exp", VerifyError::Claim("exp")),
        ("nbf", VerifyError::Claim("nbf")),
        ("iat", VerifyError::Claim("iat")),
        ("iss", VerifyError::Issuer),
        ("sub", VerifyError::Claim("sub")),
        ("jti", VerifyError::Claim("jti")),
    ] {
        let mut claims = claims();
        claims[name] = Value::Null;
        let token = s.signed(
            s.header().to_string().as_bytes(),
            claims.to_string().as_bytes(),
        );
        assert_eq!(verdict(&s, &token), Some(refusal));
    }
}

#[test]
fn leeway_applies_to_all_dates_and_iat_has_a_minimum() {
    let s = signer();
    let verifier = Verifier::new(
        s.keys(),
        Policy {
            leeway: 10,
            ..Policy::new(ISSUER)
        },
    );
    let check = |changes: Value| verifier.verify_access(&s.token(&changes), NOW).err();
    for name in ["iat", "nbf"] {
        assert_eq!(check(json!({ name: NOW + 10 })), None);
        assert_eq!(
            check(json!({ name: NOW + 11 })),
            Some(VerifyError::NotYetValid)
        );
    }
    assert_eq!(check(json!({ "exp": NOW - 9 })), None);
    assert_eq!(
        check(json!({ "exp": NOW - 10 })),
        Some(VerifyError::Expired)
    );
    assert_eq!(Policy::new(ISSUER).leeway, 0);
    let check = |changes: Value| s.verifier().verify_access(&s.token(&changes), NOW).err();
    assert_eq!(check(json!({ "iat": NOW + 2 })), None);
    assert_eq!(
        check(json!({ "iat": NOW + 3 })),
        Some(VerifyError::NotYetValid)
    );
    assert_eq!(
        check(json!({ "nbf": NOW + 1 })),
        Some(VerifyError::NotYetValid)
    );
}

#[test]
fn required_audience_must_be_present() {
    let s = signer();
    let verifier = Verifier::new(
        s.keys(),
        Policy {
            audience: Some("shop".to_owned()),
            ..Policy::new(ISSUER)
        },
    );
    let check = |aud: Value| {
        verifier
            .verify_access(&s.token(&json!({ "aud": aud })), NOW)
            .err()
    };
    assert_eq!(check(json!("shop")), None);
    assert_eq!(check(json!(["mail", "shop"])), None);
    for invalid in [
        json!(null),
        json!("shops"),
        json!("sho"),
        json!("Shop"),
        json!([]),
        json!(["shop", 5]),
        json!({ "shop": 1 }),
    ] {
        assert_eq!(
            check(invalid.clone()),
            Some(VerifyError::Audience),
            "{invalid}"
        );
    }
}

#[test]
fn signature_is_verified_before_claims() {
    let (ours, other) = (signer(), signer());
    for changes in [
        json!({}),
        json!({ "exp": 0 }),
        json!({ "iss": "x" }),
        json!({ "exp": "x" }),
        json!({ "nbf": NOW + 9 }),
    ] {
        assert_eq!(
            verdict(&ours, &other.token(&changes)),
            Some(VerifyError::Signature)
        );
    }
    let garbage = other.signed(ours.header().to_string().as_bytes(), b"not json");
    assert_eq!(verdict(&ours, &garbage), Some(VerifyError::Signature));
}
