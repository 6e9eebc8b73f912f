//! Tests of claims: each refusal and its cause, dates, issuer and audience.

use latchkey_verifier::{MAX_TOKEN_LENGTH, Policy, Verifier, VerifyError};
use serde_json::{Value, json};

use crate::{
    signer::{ISSUER, NOW, Signer, changed, claims, decode},
    tokens::{signer, verdict},
};

#[test]
fn each_refusal_has_its_cause() {
    use VerifyError::{
        Claim, Expired, Header, Issuer, MissingExpiry, MissingId, MissingType, NotYetValid,
        TooLong, Typ, UnknownKey, WrongType,
    };

    let s = signer();
    for (token, refusal, cause) in [
        (s.headed(&json!({ "kid": null })), UnknownKey, "unknown_key"),
        (s.headed(&json!({ "kid": 5 })), Header, "header"),
        (s.headed(&json!({ "crit": [] })), Header, "header"),
        (s.headed(&json!({ "b64": true })), Header, "header"),
        (s.headed(&json!({ "typ": null })), Typ, "wrong_type"),
        (s.headed(&json!({ "typ": "AT+JWT" })), Typ, "wrong_type"),
        (s.headed(&json!({ "typ": "rt+jwt" })), Typ, "wrong_type"),
        (s.headed(&json!({ "typ": ["at+jwt"] })), Header, "header"),
        (s.token(&json!({ "exp": null })), MissingExpiry, "no_expiry"),
        (s.token(&json!({ "exp": NOW })), Expired, "expired"),
        (
            s.token(&json!({ "exp": "1900000000" })),
            Claim("exp"),
            "claim",
        ),
        (
            s.token(&json!({ "iat": NOW + 3 })),
            NotYetValid,
            "not_yet_valid",
        ),
        (
            s.token(&json!({ "nbf": NOW + 1 })),
            NotYetValid,
            "not_yet_valid",
        ),
        (s.token(&json!({ "nbf": "0" })), Claim("nbf"), "claim"),
        (s.token(&json!({ "iat": false })), Claim("iat"), "claim"),
        (s.token(&json!({ "iss": null })), Issuer, "issuer"),
        (s.token(&json!({ "sub": 5 })), Claim("sub"), "claim"),
        (s.token(&json!({ "jti": 5 })), Claim("jti"), "claim"),
        (s.token(&json!({ "jti": null })), MissingId, "no_id"),
        (
            s.token(&json!({ "token_type": null })),
            MissingType,
            "no_type",
        ),
        (
            s.token(&json!({ "token_type": "refresh" })),
            WrongType,
            "wrong_type",
        ),
        (
            s.token(&json!({ "token_type": "Access" })),
            WrongType,
            "wrong_type",
        ),
        (
            s.token(&json!({ "filler": "x".repeat(MAX_TOKEN_LENGTH) })),
            TooLong,
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

/// Returns a signed token with this JSON text as the value of a claim.
fn with_text(s: &Signer, name: &str, value: &str) -> String {
    let others = changed(claims(), &json!({ name: null })).to_string();
    let payload = others.replacen('{', &format!("{{\"{name}\":{value},"), 1);
    s.signed(s.header().to_string().as_bytes(), payload.as_bytes())
}

#[test]
fn date_must_be_a_number_in_range() {
    let s = signer();
    let (text, list) = (format!("\"{}\"", NOW + 300), format!("[{}]", NOW + 300));
    let (nines, many_nines) = ("9".repeat(40), "9".repeat(400));
    let (unsigned, signed) = (u64::MAX.to_string(), i64::MAX.to_string());
    let milliseconds = format!("{NOW}000");
    for name in ["exp", "nbf", "iat"] {
        for value in [
            &text,
            "\"\"",
            "\"never\"",
            "null",
            "[]",
            &list,
            "{}",
            "1e18",
            "1e300",
            "1e308",
            &unsigned,
            &signed,
            &nines,
            &milliseconds,
        ] {
            assert_eq!(
                verdict(&s, &with_text(&s, name, value)),
                Some(VerifyError::Claim(name)),
                "{name} {value}"
            );
        }
        for value in ["1e400", "NaN", "Infinity", &many_nines] {
            assert_eq!(
                verdict(&s, &with_text(&s, name, value)),
                Some(VerifyError::Malformed),
                "{name} {value}"
            );
        }
    }
}

#[test]
fn date_is_compared_in_whole_seconds() {
    let s = signer();
    let at = |seconds: i64, fraction: &str| format!("{}{fraction}", NOW + seconds);
    let expired = [at(0, ""), at(-1, ""), at(0, ".0"), at(0, ".999")];
    let least = i64::MIN.to_string();
    let before = [
        "0", "-0", "-1", &least, "-1e300", "0.5", "true", "false", "1e-400",
    ];
    for value in expired.iter().map(String::as_str).chain(before) {
        assert_eq!(
            verdict(&s, &with_text(&s, "exp", value)),
            Some(VerifyError::Expired),
            "{value}"
        );
    }
    assert_eq!(verdict(&s, &with_text(&s, "exp", &at(1, ".5"))), None);
    for name in ["nbf", "iat"] {
        for value in [at(3, ""), at(3, ".5"), at(86_400, "")] {
            assert_eq!(
                verdict(&s, &with_text(&s, name, &value)),
                Some(VerifyError::NotYetValid),
                "{name} {value}"
            );
        }
        for value in [&at(0, ""), &at(0, ".0"), "0", "-1"] {
            assert_eq!(verdict(&s, &with_text(&s, name, value)), None, "{name}");
        }
        for value in ["true", "false"] {
            assert_eq!(
                verdict(&s, &with_text(&s, name, value)),
                Some(VerifyError::Claim(name))
            );
        }
    }
}

/// A value of the wrong type, such as `null`, never counts as an absent claim.
#[test]
fn text_claim_of_another_type_is_refused() {
    let s = signer();
    for value in [
        "5",
        "-1",
        "1.5",
        "true",
        "null",
        "[]",
        "[\"ada\"]",
        "{}",
        "{\"sub\":\"ada\"}",
    ] {
        for (name, refusal) in [
            ("iss", VerifyError::Issuer),
            ("sub", VerifyError::Claim("sub")),
            ("jti", VerifyError::Claim("jti")),
            ("token_type", VerifyError::WrongType),
        ] {
            let token = with_text(&s, name, value);
            assert_eq!(verdict(&s, &token), Some(refusal), "{name} {value}");
        }
    }
}

#[test]
fn issuer_must_match_exactly() {
    let s = signer();
    for issuer in [
        json!(format!("{ISSUER}/")),
        json!(format!("{ISSUER}.evil.example")),
        json!(format!(" {ISSUER}")),
        json!(format!("{ISSUER}\0")),
        json!(&ISSUER[..ISSUER.len() - 1]),
        json!(ISSUER.to_uppercase()),
        json!(ISSUER.replace("https", "http")),
        json!(""),
        json!([ISSUER]),
        json!(["https://evil.example", ISSUER]),
        json!({ "iss": ISSUER }),
    ] {
        let token = s.token(&json!({ "iss": issuer }));
        assert_eq!(verdict(&s, &token), Some(VerifyError::Issuer), "{issuer}");
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
        json!("https://evil.example"),
        json!(""),
        json!(5),
        json!(true),
        json!([]),
        json!([["shop"]]),
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
