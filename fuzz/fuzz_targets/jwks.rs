//! Any text as a published key set. Accepted keys are public and strong, and have unique `kid`s.
#![no_main]

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use latchkey_fuzz::{CLAIMS, HEADER, ISSUER, NOW, encode, object, signed};
use latchkey_verifier::{Algorithm, Family, KeySet, MAX_KEYS, Policy, Verifier, VerifyError};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(keys) = KeySet::from_jwks(text) else {
        return;
    };
    let verifier = Verifier::new(keys, Policy::new(ISSUER));
    let document = object(data);
    let mut kids = HashSet::new();
    for jwk in document["keys"].as_array().expect("a set is a list") {
        let member = |name: &str| jwk.get(name).and_then(Value::as_str);
        let (Some(kid), Some(Ok(algorithm))) =
            (member("kid"), member("alg").map(str::parse::<Algorithm>))
        else {
            continue;
        };
        let header = json!({ "alg": algorithm.name(), "typ": "at+jwt", "kid": kid }).to_string();
        let forged = format!(
            "{}.{}.{}",
            encode(header.as_bytes()),
            encode(CLAIMS.as_bytes()),
            encode(&[1; 64])
        );
        if verifier.check(&forged, NOW).err() == Some(VerifyError::TooLong) {
            continue;
        }
        if jwk.get("use").is_some_and(|purpose| purpose != "sig")
            || jwk.get("key_ops").is_some_and(|ops| !lists(ops))
        {
            continue;
        }
        // The key is in the set, so only the signature is wrong.
        assert_eq!(
            verifier.check(&forged, NOW).err(),
            Some(VerifyError::Signature)
        );
        assert!(kids.insert(kid), "duplicate kid: {kid}");
        assert!(
            ["d", "k", "p", "q", "dp", "dq", "qi", "oth"]
                .iter()
                .all(|name| jwk.get(name).is_none())
        );
        let number = |name: &str| {
            URL_SAFE_NO_PAD
                .decode(member(name).expect("a number"))
                .expect("base64url")
        };
        match algorithm.family() {
            Family::Ec => assert_eq!(number("x").len(), number("y").len()),
            Family::Hmac => panic!("a published secret"),
            Family::Ed => assert_eq!(number("x").len(), 32),
            Family::Rsa => assert!(number("n").len() >= 256 && number("e") != [1]),
        }
    }
    assert!(kids.len() <= MAX_KEYS);
    // No public key verifies a MAC.
    assert!(
        verifier
            .check(&signed(HEADER.as_bytes(), CLAIMS.as_bytes()), NOW)
            .is_err()
    );
});

fn lists(operations: &Value) -> bool {
    operations
        .as_array()
        .is_some_and(|list| list.contains(&"verify".into()))
}
