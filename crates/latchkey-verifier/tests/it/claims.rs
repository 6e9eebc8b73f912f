//! Tests of claims: each refusal and its cause, dates, issuer and audience.

use latchkey_verifier::{MAX_TOKEN_LENGTH, Policy, Refusal, Verifier};
use serde_json::{Value, json};

use crate::{
    signer::{ISSUER, NOW, claims, decode},
    tokens::{signer, verdict},
};

#[test]
fn each_refusal_has_its_cause() {
    let s = signer();
    for (token, refusal, cause) in [
        (
            s.headed(&json!({ "kid": null })),
            Refusal::UnknownKey,
            "unknown_key",
        ),
        (s.headed(&json!({ "kid": 5 })), Refusal::Header, "header"),
        (s.headed(&json!({ "crit": [] })), Refusal::Header, "header"),
        (s.headed(&json!({ "b64": true })), Refusal::Header, "header"),
        (
            s.headed(&json!({ "typ": null })),
            Refusal::Typ,
            "wrong_type",
        ),
        (
            s.headed(&json!({ "typ": "AT+JWT" })),
            Refusal::Typ,
            "wrong_type",
        ),
        (
            s.headed(&json!({ "typ": "rt+jwt" })),
            Refusal::Typ,
            "wrong_type",
        ),
        (
            s.headed(&json!({ "typ": ["at+jwt"] })),
            Refusal::Header,
            "header",
        ),
        (
            s.token(&json!({ "exp": null })),
            Refusal::MissingExpiry,
            "no_expiry",
        ),
        (s.token(&json!({ "exp": NOW })), Refusal::Expired, "expired"),
        (
            s.token(&json!({ "exp": 1_800_000_000.9 })),
            Refusal::Expired,
            "expired",
        ),
        (s.token(&json!({ "exp": -1 })), Refusal::Expired, "expired"),
        (
            s.token(&json!({ "exp": i64::MIN })),
            Refusal::Expired,
            "expired",
        ),
        (
            s.token(&json!({ "exp": "1900000000" })),
            Refusal::Claim("exp"),
            "claim",
        ),
        (
            s.token(&json!({ "exp": u64::MAX })),
            Refusal::Claim("exp"),
            "claim",
        ),
        (
            s.token(&json!({ "exp": 1e300 })),
            Refusal::Claim("exp"),
            "claim",
        ),
        (
            s.token(&json!({ "exp": [NOW + 300] })),
            Refusal::Claim("exp"),
            "claim",
        ),
        (
            s.token(&json!({ "iat": NOW + 3 })),
            Refusal::NotYetValid,
            "not_yet_valid",
        ),
        (
            s.token(&json!({ "nbf": NOW + 1 })),
            Refusal::NotYetValid,
            "not_yet_valid",
        ),
        (
            s.token(&json!({ "nbf": "0" })),
            Refusal::Claim("nbf"),
            "claim",
        ),
        (
            s.token(&json!({ "iat": false })),
            Refusal::Claim("iat"),
            "claim",
        ),
        (s.token(&json!({ "iss": null })), Refusal::Issuer, "issuer"),
        (
            s.token(&json!({ "iss": [ISSUER] })),
            Refusal::Issuer,
            "issuer",
        ),
        (
            s.token(&json!({ "iss": format!("{ISSUER}/") })),
            Refusal::Issuer,
            "issuer",
        ),
        (
            s.token(&json!({ "iss": &ISSUER[..ISSUER.len() - 1] })),
            Refusal::Issuer,
            "issuer",
        ),
        (
            s.token(&json!({ "sub": 5 })),
            Refusal::Claim("sub"),
            "claim",
        ),
        (
            s.token(&json!({ "jti": 5 })),
            Refusal::Claim("jti"),
            "claim",
        ),
        (
            s.token(&json!({ "jti": null })),
            Refusal::MissingId,
            "no_id",
        ),
        (
            s.token(&json!({ "token_type": null })),
            Refusal::MissingType,
            "no_type",
        ),
        (
            s.token(&json!({ "token_type": "refresh" })),
            Refusal::WrongType,
            "wrong_type",
        ),
        (
            s.token(&json!({ "token_type": "Access" })),
            Refusal::WrongType,
            "wrong_type",
        ),
        (
            s.token(&json!({ "token_type": ["access"] })),
            Refusal::WrongType,
            "wrong_type",
        ),
        (
            s.token(&json!({ "filler": "x".repeat(MAX_TOKEN_LENGTH) })),
            Refusal::TooLong,
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
fn null_is_a_value_of_the_wrong_type_and_not_an_absence() {
    let s = signer();
    for (name, refusal) in [
        ("exp", Refusal::Claim("exp")),
        ("nbf", Refusal::Claim("nbf")),
        ("iat", Refusal::Claim("iat")),
        ("iss", Refusal::Issuer),
        ("sub", Refusal::Claim("sub")),
        ("jti", Refusal::Claim("jti")),
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
fn the_leeway_is_the_same_for_all_dates_and_none_by_default_but_for_two_seconds_of_iat() {
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
        assert_eq!(check(json!({ name: NOW + 11 })), Some(Refusal::NotYetValid));
    }
    assert_eq!(check(json!({ "exp": NOW - 9 })), None);
    assert_eq!(check(json!({ "exp": NOW - 10 })), Some(Refusal::Expired));
    assert_eq!(Policy::new(ISSUER).leeway, 0);
    let check = |changes: Value| s.verifier().verify_access(&s.token(&changes), NOW).err();
    assert_eq!(check(json!({ "iat": NOW + 2 })), None);
    assert_eq!(check(json!({ "iat": NOW + 3 })), Some(Refusal::NotYetValid));
    assert_eq!(check(json!({ "nbf": NOW + 1 })), Some(Refusal::NotYetValid));
}

#[test]
fn an_audience_that_is_asked_for_must_be_named() {
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
    for wrong in [
        json!(null),
        json!("shops"),
        json!("sho"),
        json!("Shop"),
        json!([]),
        json!(["shop", 5]),
        json!({ "shop": 1 }),
    ] {
        assert_eq!(check(wrong.clone()), Some(Refusal::Audience), "{wrong}");
    }
}

#[test]
fn no_claim_is_looked_at_before_the_signature_holds() {
    let (ours, stranger) = (signer(), signer());
    for changes in [
        json!({}),
        json!({ "exp": 0 }),
        json!({ "iss": "x" }),
        json!({ "exp": "x" }),
        json!({ "nbf": NOW + 9 }),
    ] {
        assert_eq!(
            verdict(&ours, &stranger.token(&changes)),
            Some(Refusal::Signature)
        );
    }
    let garbage = stranger.signed(ours.header().to_string().as_bytes(), b"not json");
    assert_eq!(verdict(&ours, &garbage), Some(Refusal::Signature));
}
