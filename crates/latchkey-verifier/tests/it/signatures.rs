//! Tests of signatures that faulty libraries accept: zero or out-of-range numbers, other encodings,
//! and signatures of other tokens.

use latchkey_verifier::{Algorithm, VerifyError};
use serde_json::json;

use crate::{
    forgeries::{ALPHABET, refused, valid},
    signer::{NOW, Signer, decode, encode},
};

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

/// Fails unless a token with each of these signatures is refused. The function gets the valid
/// signature.
#[track_caller]
fn all_refused(algorithm: Algorithm, malformed: impl FnOnce(&Signer, &[u8]) -> Vec<Vec<u8>>) {
    let signer = Signer::new(algorithm);
    let verifier = signer.warm_verifier();
    let (input, good) = valid(&signer);
    let token = |signature: &[u8]| format!("{input}.{}", encode(signature));
    assert!(
        verifier.verify_access(&token(&good), NOW).is_ok(),
        "{algorithm}"
    );
    for signature in malformed(&signer, &good) {
        refused(&verifier, VerifyError::Signature, &token(&signature));
    }
}

/// Returns `a - b` for big-endian numbers of equal length.
fn minus(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut digits: Vec<u8> = { a.iter().zip(b).rev() }
        .map(|(a, b)| {
            let digit = i16::from(*a) - i16::from(*b) - borrow;
            borrow = i16::from(digit < 0);
            digit.to_le_bytes()[0]
        })
        .collect();
    digits.reverse();
    digits
}

/// Returns `a + b` for big-endian numbers of equal length, with one more digit if necessary.
fn plus(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let mut digits: Vec<u8> = { a.iter().zip(b).rev() }
        .map(|(a, b)| {
            let sum = u16::from(*a) + u16::from(*b) + carry;
            carry = sum >> 8;
            sum.to_le_bytes()[0]
        })
        .collect();
    digits.extend((carry == 1).then_some(1));
    digits.reverse();
    digits
}

fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

#[test]
fn signature_must_have_the_length_of_its_algorithm() {
    for algorithm in Algorithm::ALL {
        all_refused(algorithm, |_, good| {
            let length = good.len();
            let mut others = vec![
                [good, &[0]].concat(),
                [&[0], good].concat(),
                good[1..].to_vec(),
                good.repeat(2),
                vec![0; length],
                vec![0xFF; length],
                vec![1; 4000],
                reversed(good),
            ];
            for shorter in [1, 8, 16, length / 2, length - 1] {
                others.push(good[..shorter].to_vec());
            }
            others
        });
    }
}

#[test]
fn ecdsa_signature_must_be_two_numbers_below_the_order() {
    all_refused(Algorithm::Es256, |_, good| {
        let (r, s) = good.split_at(32);
        let (zero, n) = ([0; 32], P256_ORDER);
        let one = [&zero[1..], &[1]].concat();
        vec![
            [zero, zero].concat(),
            [r, &zero].concat(),
            [&zero, s].concat(),
            [&n, s].concat(),
            [r, &n].concat(),
            [n, n].concat(),
            [n, zero].concat(),
            [&one[..], &one].concat(),
            [s, r].concat(),
            [&minus(&n, r), s].concat(),
            [&[0], r, &[0], s].concat(),
            // As for P-384.
            [&zero[..16], r, &zero[..16], s].concat(),
            der(r, s),
            vec![0x30, 6, 2, 1, 0, 2, 1, 0],
        ]
    });
}

fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let number = |bytes: &[u8]| {
        // A leading zero if the first bit is set, because the number would be negative without it.
        let sign = usize::from(bytes[0] > 127);
        let length = u8::try_from(bytes.len() + sign).unwrap();
        [&[2, length], &[0][..sign], bytes].concat()
    };
    let body = [number(r), number(s)].concat();
    [&[0x30, u8::try_from(body.len()).unwrap()], &body[..]].concat()
}

#[test]
fn eddsa_signature_is_not_malleable() {
    all_refused(Algorithm::EdDsa, |_, good| {
        let (r, s) = good.split_at(32);
        // S and S plus the group order satisfy the same equation (RFC 8032, section 5.1.7).
        let stretched = reversed(&plus(&reversed(s), &reversed(&ED25519_ORDER)));
        let identity = [&[1][..], &[0; 31]].concat();
        vec![
            [r, &stretched].concat(),
            [r, &ED25519_ORDER].concat(),
            [r, &[0; 32]].concat(),
            [r, &s[..31], &[s[31] | 0xE0]].concat(),
            [&identity[..], &[0; 32]].concat(),
            [s, r].concat(),
        ]
    });
}

#[test]
fn rsa_signature_must_be_below_the_modulus() {
    for algorithm in [Algorithm::Rs256, Algorithm::Ps256] {
        all_refused(algorithm, |signer, good| {
            let n = decode(signer.jwk()["n"].as_str().unwrap());
            let one = [&[0; 255][..], &[1]].concat();
            vec![plus(good, &n), minus(&n, good), n, one]
        });
    }
}

#[test]
fn unused_bits_of_a_signature_must_be_zero() {
    // Signatures of 64, 32 and 256 bytes. Those of 48 and 96 bytes have no unused bits.
    for (algorithm, unused_values) in [
        (Algorithm::Es256, 16),
        (Algorithm::EdDsa, 16),
        (Algorithm::Hs256, 4),
        (Algorithm::Hs512, 16),
        (Algorithm::Ps256, 16),
    ] {
        let signer = Signer::new(algorithm);
        let verifier = signer.warm_verifier();
        let token = signer.token(&json!({}));
        let (start, last) = token.split_at(token.len() - 1);
        for (value, digit) in ALPHABET.iter().enumerate() {
            if *digit == last.as_bytes()[0] {
                continue;
            }
            // A lenient decoder ignores the unused bits.
            let refusal = match value % unused_values {
                0 => VerifyError::Signature,
                _ => VerifyError::Malformed,
            };
            refused(
                &verifier,
                refusal,
                &format!("{start}{}", char::from(*digit)),
            );
        }
    }
}

#[test]
fn signature_of_another_token_is_refused() {
    for algorithm in [Algorithm::Es256, Algorithm::Hs256] {
        let signer = Signer::new(algorithm);
        let verifier = signer.warm_verifier();
        let [one, other] = ["ada", "eve"].map(|user| signer.token(&json!({ "sub": user })));
        let (input, _) = one.rsplit_once('.').unwrap();
        let (_, signature) = other.rsplit_once('.').unwrap();
        let mixed = format!("{input}.{signature}");
        refused(&verifier, VerifyError::Signature, &mixed);
    }
}
