//! Tests of other encodings of valid tokens, and of text that is not a signed token.

use latchkey_verifier::{Algorithm, Verifier, VerifyError};
use serde_json::json;

use crate::signer::{NOW, Signer, changed, claims, decode, encode};

/// Alphabet of base64url (RFC 4648, section 5).
pub(super) const ALPHABET: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[track_caller]
pub(super) fn refused(verifier: &Verifier, expected: VerifyError, token: &str) {
    assert_eq!(
        verifier.verify_access(token, NOW).err(),
        Some(expected),
        "{token}"
    );
}

/// Returns the signing input and the signature of a valid token.
pub(super) fn valid(signer: &Signer) -> (String, Vec<u8>) {
    let token = signer.token(&json!({}));
    let (input, signature) = token.rsplit_once('.').unwrap();
    (input.to_owned(), decode(signature))
}

/// Returns a token with these encoded segments and a valid signature.
pub(super) fn with_segments(signer: &Signer, header: &str, payload: &str) -> String {
    let input = format!("{header}.{payload}");
    format!("{input}.{}", encode(&signer.signature(input.as_bytes())))
}

#[test]
fn segment_in_another_encoding_is_refused() {
    for algorithm in [
        Algorithm::Es256,
        Algorithm::EdDsa,
        Algorithm::Rs256,
        Algorithm::Hs256,
    ] {
        let signer = Signer::new(algorithm);
        let verifier = signer.warm_verifier();
        // Spaces extend both texts to one byte more than a multiple of three, so that there are
        // unused bits and padding is possible.
        let one_over = |text: String| format!("{text}{}", " ".repeat((4 - text.len() % 3) % 3));
        let header = encode(one_over(signer.header().to_string()).as_bytes());
        let payload = encode(one_over(claims().to_string()).as_bytes());
        assert!(
            verifier
                .verify_access(&with_segments(&signer, &header, &payload), NOW)
                .is_ok(),
            "{algorithm}"
        );
        for other in [
            "==", "=", "\n", "\r\n", " ", "\t", "%3D", "%2e", "\0", "\u{b}", "\u{a0}", "\u{200b}",
            "\u{feff}", "!", "#", "?a=1",
        ] {
            refused(
                &verifier,
                VerifyError::Malformed,
                &with_segments(&signer, &format!("{header}{other}"), &payload),
            );
            refused(
                &verifier,
                VerifyError::Malformed,
                &with_segments(&signer, &header, &format!("{payload}{other}")),
            );
            refused(
                &verifier,
                VerifyError::Malformed,
                &with_segments(&signer, &format!("{other}{header}"), &payload),
            );
            refused(
                &verifier,
                VerifyError::Malformed,
                &format!("{}{other}", with_segments(&signer, &header, &payload)),
            );
        }
        // The last character has four unused bits, all zero. The next character of the alphabet has
        // one of them set.
        for (header, payload) in [
            (next(&header), payload.clone()),
            (header.clone(), next(&payload)),
        ] {
            refused(
                &verifier,
                VerifyError::Malformed,
                &with_segments(&signer, &header, &payload),
            );
        }
    }
}

/// Returns the text with its last character replaced by the next one of the alphabet.
fn next(text: &str) -> String {
    let (start, last) = text.split_at(text.len() - 1);
    let position = ALPHABET
        .iter()
        .position(|letter| *letter == last.as_bytes()[0])
        .unwrap();
    format!("{start}{}", char::from(ALPHABET[position + 1]))
}

#[test]
fn token_must_have_three_segments() {
    for algorithm in [Algorithm::Es256, Algorithm::Hs256] {
        let signer = Signer::new(algorithm);
        let verifier = signer.warm_verifier();
        let token = signer.token(&json!({}));
        let [header, payload, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
        for other in [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            "...".to_owned(),
            "a.b.c".to_owned(),
            header.to_owned(),
            format!("{header}.{payload}"),
            format!("{header}.{payload}."),
            format!("{header}{payload}.{signature}"),
            format!("{token}."),
            format!(".{token}"),
            format!("{header}.{token}"),
            format!("{token}.{signature}"),
            format!("{token}.AAAA.AAAA"),
            format!("{token}{token}"),
            format!("{token}.{token}"),
            format!("{header}..{signature}"),
            format!(".{payload}.{signature}"),
            format!("{header}.{payload}.{payload}.{payload}.{signature}"),
            format!("{header},{payload},{signature}"),
            token.replace('.', "%2e"),
            token.replace('.', "\u{ff0e}"),
            token.replace('.', "\u{3002}"),
            token.replacen('e', "\u{ff45}", 1),
            token.replacen('J', "%4A", 1),
            format!("\u{feff}{token}"),
            format!("Bearer {token}"),
            format!("{{{token}}}"),
            json!(token).to_string(),
            json!([token]).to_string(),
            json!({ "protected": header, "payload": payload, "signature": signature }).to_string(),
            json!({ "payload": payload, "signatures": [{ "protected": header, "signature": signature }] }).to_string(),
        ] {
            refused(&verifier, VerifyError::Malformed, &other);
        }
        for other in [
            format!("{payload}.{header}.{signature}"),
            token.to_uppercase(),
            token.to_lowercase(),
        ] {
            assert!(verifier.verify_access(&other, NOW).is_err(), "{other}");
        }
    }
}

#[test]
fn padded_segment_or_standard_alphabet_is_refused() {
    let signer = Signer::new(Algorithm::Hs256);
    let verifier = signer.warm_verifier();
    let tokens = (0..).map(|number| signer.token(&json!({ "n": number })));
    let token = { tokens }
        .find(|token| token.rsplit_once('.').unwrap().1.contains(['-', '_']))
        .unwrap();
    assert!(verifier.verify_access(&token, NOW).is_ok());
    let standard = token.replace('-', "+").replace('_', "/");
    for other in [format!("{token}="), format!("{standard}="), standard] {
        refused(&verifier, VerifyError::Malformed, &other);
    }
}

#[test]
fn encrypted_token_is_refused() {
    let signer = Signer::new(Algorithm::Es256);
    let verifier = signer.warm_verifier();
    let none = encode(br#"{"alg":"none"}"#);
    for (changes, refusal) in [
        (json!({ "alg": "dir" }), VerifyError::Header),
        (json!({ "alg": "dir", "zip": "DEF" }), VerifyError::Header),
        (
            json!({ "alg": "RSA-OAEP", "cty": "JWT" }),
            VerifyError::Header,
        ),
        (
            json!({ "alg": "PBES2-HS512+A256KW", "p2s": "AAAAAAAAAAA", "p2c": i32::MAX }),
            VerifyError::Header,
        ),
        (
            json!({ "alg": "ECDH-ES", "epk": { "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" } }),
            VerifyError::Header,
        ),
        (json!({}), VerifyError::Signature),
    ] {
        let token = signer.headed(&changed(changes, &json!({ "enc": "A256GCM" })));
        let (header, payload) = token.rsplit_once('.').unwrap().0.split_once('.').unwrap();
        refused(&verifier, refusal, &format!("{header}.{payload}.AAAA"));
        for inner in [&none, payload] {
            for other in [
                format!("{header}..AAAAAAAAAAAAAAAA.{inner}.AAAAAAAAAAAAAAAAAAAAAA"),
                format!("{header}.{inner}.{inner}.{inner}.{inner}"),
            ] {
                refused(&verifier, VerifyError::Malformed, &other);
            }
        }
    }
}
