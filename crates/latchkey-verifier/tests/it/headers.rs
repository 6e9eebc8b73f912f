//! Tests of headers that choose the algorithm or the key, signed with the correct key where
//! possible.

use latchkey_verifier::{Algorithm, KeySet, Policy, Verifier, VerifyError};
use serde_json::{Value, json};

use crate::{
    forgeries::{refused, with_segments},
    signer::{ISSUER, KID, NOW, Signer, changed, claims, encode, set},
};

/// Returns a correctly signed token whose header has this member.
fn with_member(signer: &Signer, name: &str, value: Value) -> String {
    let mut header = signer.header();
    header[name] = value;
    signer.signed(
        header.to_string().as_bytes(),
        claims().to_string().as_bytes(),
    )
}

#[test]
fn unknown_algorithm_is_refused_with_any_signature() {
    const OTHERS: &str = "none|None|NONE|noNE|nOnE|nonE|none | none|none\0|n\u{f6}ne|\u{ff4e}one|null||\
        HS1|ES512|ES256K|ES2560|A128KW|dir|PBES2-HS256+A128KW|\
        http://www.w3.org/2001/04/xmldsig-more#hmac-sha256";
    for algorithm in [Algorithm::Es256, Algorithm::Hs256, Algorithm::Rs256] {
        let signer = Signer::new(algorithm);
        let own = algorithm.name();
        let spellings = [
            own.to_lowercase(),
            format!("{own} "),
            format!(" {own}"),
            format!("\t{own}"),
            format!("{own}\0"),
            own.repeat(2),
        ];
        let names = OTHERS.split('|').map(str::to_owned).chain(spellings);
        let names = names.inspect(|name| assert!(name.parse::<Algorithm>().is_err(), "{name:?}"));
        let others = [
            json!(null),
            json!(0),
            json!(256),
            json!(true),
            json!(false),
            json!([]),
            json!(["none"]),
            json!([own]),
            json!({}),
            json!({ "alg": own }),
        ];
        let mut tokens: Vec<String> = names
            .map(Value::from)
            .chain(others)
            .map(|value| with_member(&signer, "alg", value))
            .collect();
        tokens.push(signer.headed(&json!({ "alg": null })));
        tokens.push(signer.signed(br#"{"alg":"none"}"#, claims().to_string().as_bytes()));
        for token in tokens {
            let (input, _) = token.rsplit_once('.').unwrap();
            for (refusal, other) in [
                (VerifyError::Header, &*token),
                (VerifyError::Header, &format!("{input}.AA")),
                (VerifyError::Malformed, &format!("{input}.")),
                (VerifyError::Malformed, input),
            ] {
                refused(&signer.verifier(), refusal, other);
                refused(&signer.warm_verifier(), refusal, other);
            }
        }
    }
}

#[test]
fn kid_must_match_exactly() {
    for algorithm in [Algorithm::Es256, Algorithm::Hs256] {
        let signer = Signer::new(algorithm);
        let verifier = signer.warm_verifier();
        for kid in [
            "",
            " ",
            "*",
            "\0",
            "%00",
            "a",
            "a-ke",
            "a-key ",
            "A-KEY",
            "a-key\0",
            "../a-key",
            "keys/../../x",
            "../../../../../../dev/null",
            "/dev/null",
            "file:///dev/null",
            "https://evil.example/key",
            "' OR '1'='1",
            "x' UNION SELECT 'secret' --",
            "|/usr/bin/id",
            "$(id)",
            "\u{202e}\u{1f511}",
            &"x".repeat(4000),
        ] {
            let token = with_member(&signer, "kid", json!(kid));
            refused(&verifier, VerifyError::UnknownKey, &token);
        }
        for kid in [
            json!(null),
            json!(0),
            json!(-1),
            json!(1e300),
            json!(true),
            json!([KID]),
            json!({ "kid": KID }),
        ] {
            refused(
                &verifier,
                VerifyError::Header,
                &with_member(&signer, "kid", kid),
            );
        }
    }
}

#[test]
fn kid_of_another_key_is_refused() {
    let (ours, theirs) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::Es256));
    let other = changed(theirs.jwk(), &json!({ "kid": "other" }));
    let keys = KeySet::from_jwks(&set(&[ours.jwk(), other])).unwrap();
    let verifier = Verifier::new(keys, Policy::new(ISSUER));
    let changes = json!({ "kid": "other" });
    assert!(
        verifier
            .verify_access(&theirs.headed(&changes), NOW)
            .is_ok()
    );
    refused(&verifier, VerifyError::Signature, &ours.headed(&changes));
}

#[test]
fn critical_extensions_are_refused() {
    let signer = Signer::new(Algorithm::Es256);
    let verifier = signer.warm_verifier();
    for value in [
        json!([]),
        json!(["exp"]),
        json!(["b64"]),
        json!(["alg"]),
        json!(["x", "x"]),
        json!([1]),
        json!([""]),
        json!("alg"),
        json!("b64"),
        json!(null),
        json!({}),
        json!(0),
    ] {
        let token = with_member(&signer, "crit", value);
        refused(&verifier, VerifyError::Header, &token);
    }
    for changes in [
        json!({ "crit": ["exp"], "exp": NOW + 300 }),
        json!({ "crit": ["x"], "x": 1 }),
        json!({ "crit": ["b64"], "b64": false }),
        json!({ "crit": ["b64"], "b64": true }),
        json!({ "b64": false }),
        json!({ "b64": true }),
        json!({ "b64": "false" }),
    ] {
        refused(&verifier, VerifyError::Header, &signer.headed(&changes));
    }
    // RFC 7797's form, in which the payload is signed and included without encoding.
    let header = changed(signer.header(), &json!({ "crit": ["b64"], "b64": false }));
    let header = encode(header.to_string().as_bytes());
    refused(
        &verifier,
        VerifyError::Malformed,
        &with_segments(&signer, &header, &claims().to_string()),
    );
}

#[test]
fn key_in_the_token_is_ignored() {
    let (ours, theirs) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::Es256));
    let verifier = ours.warm_verifier();
    for changes in [
        json!({ "jwk": theirs.jwk() }),
        json!({ "jwk": { "kty": "oct", "k": "AAAA" } }),
        json!({ "jku": "https://evil.example.com/jwks.json" }),
        json!({ "x5u": "https://evil.example.com/chain.pem" }),
        json!({ "x5c": ["MIIB"] }),
        json!({ "x5t": "AAAA", "x5t#S256": "AAAA" }),
    ] {
        refused(&verifier, VerifyError::Signature, &theirs.headed(&changes));
        let other_kid = changed(changes.clone(), &json!({ "kid": format!("{KID}-2") }));
        refused(
            &verifier,
            VerifyError::UnknownKey,
            &theirs.headed(&other_kid),
        );
    }
    // An empty secret in the token, and no key id.
    let mac = Signer::new(Algorithm::Hs256);
    let changes = json!({ "jwk": { "kty": "oct", "k": "" }, "kid": null });
    refused(&verifier, VerifyError::UnknownKey, &mac.headed(&changes));
}
