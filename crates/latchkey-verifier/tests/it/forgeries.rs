//! Tests of forged tokens: malformed signatures, and other encodings of valid tokens.

use latchkey_verifier::{Algorithm, Verifier, VerifyError};
use serde_json::json;

use crate::signer::{KID, NOW, Signer, changed, claims, decode, encode};

/// Group order of P-256 (FIPS 186), big-endian.
const P256_ORDER: [u8; 32] = [
    0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xBC, 0xE6,
    0xFA, 0xAD, 0xA7, 0x17, 0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51,
];
/// Group order of Ed25519 (RFC 8032, section 5.1), little-endian.
const ED25519_ORDER: [u8; 32] = [
    0xED, 0xD3, 0xF5, 0x5C, 0x1A, 0x63, 0x12, 0x58, 0xD6, 0x9C, 0xF7, 0xA2, 0xDE, 0xF9, 0xDE, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

#[track_caller]
fn refused(verifier: &Verifier, expected: VerifyError, token: &str) {
    assert_eq!(
        verifier.verify_access(token, NOW).err(),
        Some(expected),
        "{token}"
    );
}

/// Returns the signing input and the signature of a valid token.
fn valid(signer: &Signer) -> (String, Vec<u8>) {
    let token = signer.token(&json!({}));
    let (input, signature) = token.rsplit_once('.').unwrap();
    (input.to_owned(), decode(signature))
}

/// Returns a token with these encoded segments and a valid signature.
fn with_segments(signer: &Signer, header: &str, payload: &str) -> String {
    let input = format!("{header}.{payload}");
    format!("{input}.{}", encode(&signer.signature(input.as_bytes())))
}

#[test]
fn signature_must_have_the_length_of_its_algorithm() {
    for algorithm in Algorithm::ALL {
        let signer = Signer::new(algorithm);
        let verifier = signer.warm_verifier();
        let (input, signature) = valid(&signer);
        assert!(
            verifier
                .verify_access(&format!("{input}.{}", encode(&signature)), NOW)
                .is_ok(),
            "{algorithm}"
        );
        refused(&verifier, VerifyError::Malformed, &format!("{input}."));
        refused(&verifier, VerifyError::Malformed, &input);
        let length = signature.len();
        for other in [
            &signature[..1],
            &signature[..length / 2],
            &signature[..length - 1],
            &signature[1..],
            &[&signature[..], &[0]].concat(),
            &[&[0], &signature[..]].concat(),
            &signature.repeat(2),
            &vec![0; length],
            &vec![0xFF; length],
            &signature.iter().rev().copied().collect::<Vec<u8>>(),
        ] {
            refused(
                &verifier,
                VerifyError::Signature,
                &format!("{input}.{}", encode(other)),
            );
        }
    }
}

#[test]
fn ecdsa_numbers_must_be_between_0_and_the_order() {
    let signer = Signer::new(Algorithm::Es256);
    let (input, signature) = valid(&signer);
    let (r, s) = signature.split_at(32);
    let mut one = [0; 32];
    one[31] = 1;
    for (r, s) in [
        (&[0; 32][..], &[0; 32][..]),
        (r, &[0; 32]),
        (&[0; 32], s),
        (&P256_ORDER, s),
        (r, &P256_ORDER),
        (&P256_ORDER, &P256_ORDER),
        (&P256_ORDER, &[0; 32]),
        (&one, &one),
        (s, r),
    ] {
        refused(
            &signer.warm_verifier(),
            VerifyError::Signature,
            &format!("{input}.{}", encode(&[r, s].concat())),
        );
    }
}

#[test]
fn ecdsa_signature_in_der_is_refused() {
    let signer = Signer::new(Algorithm::Es256);
    let (input, signature) = valid(&signer);
    let number = |bytes: &[u8]| {
        // A leading zero if the first bit is set, because the number would be negative without it.
        let positive = if bytes[0] > 127 {
            [&[0], bytes].concat()
        } else {
            bytes.to_vec()
        };
        [&[2, u8::try_from(positive.len()).unwrap()], &positive[..]].concat()
    };
    let body = [number(&signature[..32]), number(&signature[32..])].concat();
    let der = [&[0x30, u8::try_from(body.len()).unwrap()], &body[..]].concat();
    refused(
        &signer.warm_verifier(),
        VerifyError::Signature,
        &format!("{input}.{}", encode(&der)),
    );
}

#[test]
fn eddsa_signature_is_not_malleable() {
    let signer = Signer::new(Algorithm::EdDsa);
    let (input, mut signature) = valid(&signer);
    // S and S plus the group order satisfy the same equation (RFC 8032, section 5.1.7).
    let mut carry = 0;
    for (digit, order) in signature[32..].iter_mut().zip(ED25519_ORDER) {
        let sum = u16::from(*digit) + u16::from(order) + carry;
        *digit = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    refused(
        &signer.warm_verifier(),
        VerifyError::Signature,
        &format!("{input}.{}", encode(&signature)),
    );
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
        for other in ["==", "=", "\n", " ", "%3D", "\0", "\u{a0}"] {
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
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (start, last) = text.split_at(text.len() - 1);
    let position = ALPHABET
        .iter()
        .position(|letter| *letter == last.as_bytes()[0])
        .unwrap();
    format!("{start}{}", char::from(ALPHABET[position + 1]))
}

#[test]
fn unused_bits_of_a_signature_must_be_zero() {
    // Signatures of 64, 32 and 256 bytes. Those of 48 and 96 bytes have no unused bits.
    for algorithm in [
        Algorithm::Es256,
        Algorithm::EdDsa,
        Algorithm::Hs256,
        Algorithm::Hs512,
        Algorithm::Ps256,
    ] {
        let signer = Signer::new(algorithm);
        refused(
            &signer.warm_verifier(),
            VerifyError::Malformed,
            &next(&signer.token(&json!({}))),
        );
    }
}

#[test]
fn token_must_have_three_segments() {
    let signer = Signer::new(Algorithm::Es256);
    let token = signer.token(&json!({}));
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    for other in [
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{signature}"),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{header}.{payload}.{payload}.{payload}.{signature}"),
        format!("{header},{payload},{signature}"),
        format!("Bearer {token}"),
        format!("\"{token}\""),
        json!({ "protected": header, "payload": payload, "signature": signature }).to_string(),
        json!({ "payload": payload, "signatures": [{ "protected": header, "signature": signature }] }).to_string(),
    ] {
        refused(&signer.warm_verifier(), VerifyError::Malformed, &other);
    }
}

#[test]
fn algorithm_none_is_refused_in_any_form() {
    for algorithm in [Algorithm::Es256, Algorithm::Hs256, Algorithm::Rs256] {
        let signer = Signer::new(algorithm);
        let payload = encode(claims().to_string().as_bytes());
        for none in [
            "none",
            "None",
            "NONE",
            "nOnE",
            "nonE",
            "none ",
            " none",
            "none\0",
            "\u{ff4e}one",
            "null",
            "",
        ] {
            let header = encode(
                changed(signer.header(), &json!({ "alg": none }))
                    .to_string()
                    .as_bytes(),
            );
            refused(
                &signer.warm_verifier(),
                VerifyError::Malformed,
                &format!("{header}.{payload}."),
            );
            refused(
                &signer.warm_verifier(),
                VerifyError::Malformed,
                &format!("{header}.{payload}"),
            );
            refused(
                &signer.warm_verifier(),
                VerifyError::Header,
                &format!("{header}.{payload}.AA"),
            );
            refused(
                &signer.warm_verifier(),
                VerifyError::Header,
                &with_segments(&signer, &header, &payload),
            );
        }
    }
}

#[test]
fn duplicate_members_are_refused() {
    let signer = Signer::new(Algorithm::Es256);
    let (header, payload) = (signer.header().to_string(), claims().to_string());
    let twice = |object: &str, member: &str| object.replacen('{', &format!("{{{member},"), 1);
    for member in [
        r#""alg":"none""#,
        r#""alg":"ES256""#,
        r#""al\u0067":"none""#,
        r#""kid":"x""#,
        r#""typ":"JWT""#,
    ] {
        let token = signer.signed(twice(&header, member).as_bytes(), payload.as_bytes());
        refused(&signer.warm_verifier(), VerifyError::Malformed, &token);
    }
    for member in [
        r#""exp":1"#,
        r#""e\u0078p":9999999999"#,
        r#""sub":"eve""#,
        r#""x":{"y":1,"y":2}"#,
    ] {
        let token = signer.signed(header.as_bytes(), twice(&payload, member).as_bytes());
        refused(&signer.warm_verifier(), VerifyError::Malformed, &token);
    }
}

#[test]
fn critical_extensions_are_refused() {
    let signer = Signer::new(Algorithm::Es256);
    for changes in [
        json!({ "crit": ["exp"] }),
        json!({ "crit": ["exp"], "exp": NOW + 300 }),
        json!({ "crit": ["b64"], "b64": false }),
        json!({ "b64": false }),
        json!({ "crit": "alg" }),
        json!({ "crit": {} }),
    ] {
        refused(
            &signer.warm_verifier(),
            VerifyError::Header,
            &signer.headed(&changes),
        );
    }
    // RFC 7797's form, in which the payload is signed and included without encoding.
    let header = encode(
        changed(signer.header(), &json!({ "crit": ["b64"], "b64": false }))
            .to_string()
            .as_bytes(),
    );
    refused(
        &signer.warm_verifier(),
        VerifyError::Malformed,
        &with_segments(&signer, &header, &claims().to_string()),
    );
}

#[test]
fn key_in_the_token_is_ignored() {
    let (ours, theirs) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::Es256));
    for changes in [
        json!({ "jwk": theirs.jwk() }),
        json!({ "jku": "https://evil.example.com/jwks.json" }),
        json!({ "x5u": "https://evil.example.com/chain.pem" }),
        json!({ "x5c": ["MIIB"] }),
    ] {
        refused(
            &ours.warm_verifier(),
            VerifyError::Signature,
            &theirs.headed(&changes),
        );
        let other_kid = changed(changes, &json!({ "kid": format!("{KID}-2") }));
        refused(
            &ours.warm_verifier(),
            VerifyError::UnknownKey,
            &theirs.headed(&other_kid),
        );
    }
}
