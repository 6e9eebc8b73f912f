//! Tests of single keys that are refused: of the wrong type, off the curve, or weak.

use latchkey_verifier::{Algorithm, KeyError, KeySet};
use serde_json::json;

use crate::{
    key_sets::refusal,
    signer::{KID, Signer, changed, decode, encode, set},
};

#[test]
fn key_of_another_type_curve_or_length_is_refused() {
    let unusable = KeyError::NotAPublicKey(KID.to_owned());
    let es256 = Signer::new(Algorithm::Es256).jwk();
    let es384 = Signer::new(Algorithm::Es384).jwk();
    let eddsa = Signer::new(Algorithm::EdDsa).jwk();
    let rs256 = Signer::new(Algorithm::Rs256).jwk();
    let x = decode(es256["x"].as_str().unwrap());
    let long = encode(&[&[0], &x[..]].concat());
    for (jwk, changes) in [
        (&es256, json!({ "alg": "ES384" })),
        (&es256, json!({ "alg": "RS256" })),
        (&es256, json!({ "alg": "EdDSA" })),
        (&es256, json!({ "alg": "HS256" })),
        (&es256, json!({ "alg": "HS256", "kty": "oct" })),
        (&es256, json!({ "crv": "P-384" })),
        (&es256, json!({ "crv": "secp256k1" })),
        (&es256, json!({ "crv": null })),
        (&es256, json!({ "kty": "ec" })),
        (&es256, json!({ "kty": null })),
        (&es256, json!({ "x": encode(&x[1..]) })),
        (&es256, json!({ "x": long })),
        (&es256, json!({ "x": "" })),
        (&es256, json!({ "x": null })),
        (&es256, json!({ "x": 5 })),
        (&es256, json!({ "y": null })),
        (
            &es256,
            json!({ "x": format!("{}=", es256["x"].as_str().unwrap()) }),
        ),
        (&es256, json!({ "x": "!".repeat(43) })),
        (
            &es256,
            json!({ "x": format!(" {}", es256["x"].as_str().unwrap()) }),
        ),
        (
            &es256,
            json!({ "x": format!("{}\n", es256["x"].as_str().unwrap()) }),
        ),
        (
            &es256,
            json!({ "x": unused_bit_set(es256["x"].as_str().unwrap()) }),
        ),
        (&es256, json!({ "kty": "oct" })),
        (&es256, json!({ "x": [es256["x"]] })),
        (&es384, json!({ "alg": "ES256" })),
        (&es384, json!({ "x": es256["x"], "y": es256["y"] })),
        (&eddsa, json!({ "crv": "X25519" })),
        (&eddsa, json!({ "crv": "Ed448" })),
        (&eddsa, json!({ "kty": "EC" })),
        (&eddsa, json!({ "x": encode(&[1; 31]) })),
        (&eddsa, json!({ "x": encode(&[1; 33]) })),
        (&rs256, json!({ "alg": "ES256" })),
        (&rs256, json!({ "kty": "EC" })),
        (
            &eddsa,
            json!({ "x": unused_bit_set(eddsa["x"].as_str().unwrap()) }),
        ),
        (&rs256, json!({ "n": null })),
        (
            &rs256,
            json!({ "n": format!("{}=", rs256["n"].as_str().unwrap()) }),
        ),
        (&rs256, json!({ "e": null })),
        (&rs256, json!({ "e": "" })),
    ] {
        assert_eq!(
            refusal(&[changed(jwk.clone(), &changes)]),
            unusable,
            "{changes}"
        );
    }
}

/// Returns another encoding of the same 32 bytes. Their last character has two unused bits.
fn unused_bit_set(text: &str) -> String {
    let (start, last) = text.split_at(text.len() - 1);
    format!("{start}{}", char::from(last.as_bytes()[0] + 1))
}

#[test]
fn point_off_the_curve_is_refused() {
    for algorithm in [Algorithm::Es256, Algorithm::Es384] {
        let jwk = Signer::new(algorithm).jwk();
        let mut y = decode(jwk["y"].as_str().unwrap());
        y[5] ^= 1;
        let zero = encode(&vec![0; y.len()]);
        for changes in [
            json!({ "y": encode(&y) }),
            json!({ "x": zero, "y": zero }),
            json!({ "x": jwk["y"] }),
        ] {
            assert_eq!(
                refusal(&[changed(jwk.clone(), &changes)]),
                KeyError::NotAPublicKey(KID.to_owned())
            );
        }
    }
}

/// The eight points of small order with all their other encodings: those in libsodium's
/// `ge25519_has_small_order` and in Chalkias et al., "Taming the many `EdDSAs`" (2020), table 1.
/// With the third, the signature R = 1 and S = 0 is valid for every message.
const SMALL_ORDER: [&str; 14] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

/// Points of large order whose y is encoded as y + p.
const NON_CANONICAL: [&str; 4] = [
    "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "f1ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "fdffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// Values of y without a point: 2, 7 and 8.
const OFF_THE_CURVE: [&str; 3] = [
    "0200000000000000000000000000000000000000000000000000000000000000",
    "0700000000000000000000000000000000000000000000000000000000000000",
    "0800000000000000000000000000000000000000000000000000000000000080",
];

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn weak_or_non_canonical_ed25519_key_is_refused() {
    let jwk = Signer::new(Algorithm::EdDsa).jwk();
    for point in SMALL_ORDER
        .iter()
        .chain(&NON_CANONICAL)
        .chain(&OFF_THE_CURVE)
    {
        let weak = changed(jwk.clone(), &json!({ "x": encode(&bytes_of(point)) }));
        assert_eq!(
            refusal(&[weak]),
            KeyError::NotAPublicKey(KID.to_owned()),
            "{point}"
        );
    }
}

/// Both curves have a point with x = 0, whose second encoding is x = p.
#[test]
fn coordinate_out_of_range_or_point_at_infinity_is_refused() {
    for (algorithm, y, p) in [
        (
            Algorithm::Es256,
            "66485c780e2f83d72433bd5d84a06bb6541c2af31dae871728bf856a174f93f4",
            "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
        ),
        (
            Algorithm::Es384,
            "c306610fb0ae5a159cf45c06069f22a6c5eb3641c602d42dea2c4b4f75550793406d80d2b91ad54f9048bd487af1ade1",
            "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff",
        ),
    ] {
        let jwk = Signer::new(algorithm).jwk();
        let (p, y) = (bytes_of(p), bytes_of(y));
        let point =
            |x: &[u8], y: &[u8]| changed(jwk.clone(), &json!({ "x": encode(x), "y": encode(y) }));
        let zero = vec![0; p.len()];
        assert!(
            KeySet::from_jwks(&set(&[point(&zero, &y)])).is_ok(),
            "a point with x = 0 is valid"
        );
        for (x, y) in [
            (&p, &y),
            (&vec![0xff; p.len()], &y),
            (&zero, &p),
            (&p, &zero),
            (&zero, &zero),
        ] {
            assert_eq!(
                refusal(&[point(x, y)]),
                KeyError::NotAPublicKey(KID.to_owned()),
                "{algorithm}"
            );
        }
        // In SEC 1 the point at infinity is encoded as one zero byte.
        assert_eq!(
            refusal(&[point(&[0], &[])]),
            KeyError::NotAPublicKey(KID.to_owned())
        );
    }
}

#[test]
fn weak_or_malformed_rsa_numbers_are_refused() {
    let jwk = Signer::new(Algorithm::Ps256).jwk();
    let n = decode(jwk["n"].as_str().unwrap());
    let modulus = |bytes: &[u8]| changed(jwk.clone(), &json!({ "n": encode(bytes) }));
    let exponent = |bytes: &[u8]| changed(jwk.clone(), &json!({ "e": encode(bytes) }));
    let weak = KeyError::WeakRsa(KID.to_owned());
    assert_eq!(refusal(&[modulus(&n[..128])]), weak);
    assert_eq!(refusal(&[modulus(&n[..255])]), weak);
    // 2047 bits, and 1024 bits with leading zeros: the length in bytes does not count.
    let mut halved = n.clone();
    halved[0] >>= 1;
    assert_eq!(refusal(&[modulus(&halved)]), weak);
    assert_eq!(refusal(&[modulus(&[&[0; 128], &n[..128]].concat())]), weak);

    let unusable = KeyError::NotAPublicKey(KID.to_owned());
    let mut even = n.clone();
    even[255] &= 0xFE;
    for malformed in [
        modulus(&[&[0], &n[..]].concat()),
        modulus(&even),
        modulus(&n.repeat(5)),
        exponent(&[0]),
        exponent(&[1]),
        exponent(&[2]),
        exponent(&[1, 0, 0]),
        exponent(&[0, 1, 0, 1]),
        exponent(&[1, 0, 0, 0, 0, 0, 0, 0, 1]),
    ] {
        assert_eq!(
            refusal(std::slice::from_ref(&malformed)),
            unusable,
            "{malformed}"
        );
    }
}

#[test]
fn rsa_key_from_a_flawed_generator_is_refused() {
    // 65537^128 is a power of the generator, with 2049 bits.
    let mut power = vec![1];
    for _ in 0..128 {
        // Multiplication by 65537: the number shifted by two bytes, plus the number.
        let (shifted, unshifted) = (
            [&power[..], &[0, 0]].concat(),
            [&[0, 0], &power[..]].concat(),
        );
        let mut carry = 0;
        let mut sum: Vec<u8> = Vec::new();
        for (one, other) in shifted.iter().rev().zip(unshifted.iter().rev()) {
            let digit = u16::from(*one) + u16::from(*other) + carry;
            carry = digit >> 8;
            sum.push(digit.to_le_bytes()[0]);
        }
        assert_eq!(carry, 0);
        power = sum.into_iter().rev().collect();
    }
    for algorithm in [Algorithm::Rs256, Algorithm::Rs512, Algorithm::Ps256] {
        let jwk = Signer::new(algorithm).jwk();
        let modulus = |bytes: &[u8]| changed(jwk.clone(), &json!({ "n": encode(bytes) }));
        assert_eq!(
            refusal(&[modulus(&power)]),
            KeyError::RocaRsa(KID.to_owned())
        );
        // The neighbouring odd number is not a power of the generator.
        let mut neighbour = power.clone();
        *neighbour.last_mut().unwrap() ^= 2;
        assert!(KeySet::from_jwks(&set(&[modulus(&neighbour)])).is_ok());
    }
}
