//! Signatures that faulty libraries accept: zero or out-of-range values, other encodings, and
//! signatures of other tokens or keys.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use latchkey_crypto::signing_key::SigningKey;
use latchkey_verifier::{Algorithm, Kind};
use serde_json::json;

use super::{INVALID, VERIFY_BLACKLISTED, refused, segments, shut_out, still_good};
use latchkey_testkit::{Backend, Forge, TestApp, encode};

/// Order of P-256 (SEC 2, section 2.4.2), big-endian.
const P256_ORDER: [u8; 32] = [
    0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xBC, 0xE6,
    0xFA, 0xAD, 0xA7, 0x17, 0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51,
];
/// Order L of Ed25519's group (RFC 8032, section 5.1), little-endian.
const ED25519_ORDER: [u8; 32] = [
    0xED, 0xD3, 0xF5, 0x5C, 0x1A, 0x63, 0x12, 0x58, 0xD6, 0x9C, 0xF7, 0xA2, 0xDE, 0xF9, 0xDE, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn signature_of(token: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(segments(token)[2]).unwrap()
}

fn resigned(token: &str, signature: &[u8]) -> String {
    let (input, _) = token.rsplit_once('.').unwrap();
    format!("{input}.{}", encode(signature))
}

/// Returns `a - b` for big-endian numbers of equal length.
fn minus(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut digits: Vec<u8> = a
        .iter()
        .zip(b)
        .rev()
        .map(|(a, b)| {
            let digit = i16::from(*a) - i16::from(*b) - borrow;
            borrow = i16::from(digit < 0);
            digit.to_le_bytes()[0]
        })
        .collect();
    digits.reverse();
    digits
}

/// Returns `a + b` for big-endian numbers of equal length, and the carry.
fn plus(a: &[u8], b: &[u8]) -> (Vec<u8>, bool) {
    let mut carry = 0;
    let mut digits: Vec<u8> = a
        .iter()
        .zip(b)
        .rev()
        .map(|(a, b)| {
            let sum = u16::from(*a) + u16::from(*b) + carry;
            carry = sum >> 8;
            sum.to_le_bytes()[0]
        })
        .collect();
    digits.reverse();
    (digits, carry == 1)
}

fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let sign = usize::from(number[0] > 0x7F);
        [
            &[2, u8::try_from(number.len() + sign).unwrap()],
            &[0][..sign],
            number,
        ]
        .concat()
    };
    let body = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(body.len()).unwrap()], &body[..]].concat()
}

#[tokio::test]
async fn zero_or_malformed_ecdsa_signature_is_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let good = signature_of(&pair.access);
    let (r, s) = good.split_at(32);
    let zero = [0; 32];
    let one = minus(
        &P256_ORDER,
        &minus(&P256_ORDER, &[&zero[..31], &[1]].concat()),
    );
    for (what, signature) in [
        ("r = s = 0", [zero, zero].concat()),
        ("r = 0", [&zero, s].concat()),
        ("s = 0", [r, &zero].concat()),
        ("r = n", [&P256_ORDER, s].concat()),
        ("s = n", [r, &P256_ORDER].concat()),
        ("r = s = n", [P256_ORDER, P256_ORDER].concat()),
        ("r = s = 1", [&one[..], &one].concat()),
        ("all ones", vec![0xFF; 64]),
        ("swapped", [s, r].concat()),
        ("negated r", [&minus(&P256_ORDER, r), s].concat()),
        ("DER", der(r, s)),
        ("DER of zeros", vec![0x30, 6, 2, 1, 0, 2, 1, 0]),
        ("one byte too few", good[..63].to_vec()),
        ("one byte too many", [&good[..], &[0]].concat()),
        ("a zero before", [&[0], &good[..]].concat()),
        ("zeros before r and s", [&[0], r, &[0], s].concat()),
        ("half", r.to_vec()),
        ("twice", good.repeat(2)),
        ("as for P-384", [&[0; 16], r, &[0; 16], s].concat()),
        ("one byte", vec![0]),
        ("very long", vec![1; 4000]),
    ] {
        refused(&app, what, &resigned(&pair.access, &signature)).await;
    }
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn revocation_covers_the_malleable_ecdsa_signature() {
    for backend in [Backend::Embedded, Backend::PostgresAndRedis] {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        let good = signature_of(&pair.access);
        let (r, s) = good.split_at(32);
        let twin = resigned(&pair.access, &[r, &minus(&P256_ORDER, s)].concat());
        assert_ne!(twin, pair.access);
        // Both signatures are mathematically valid, so a revocation must not depend on the
        // signature.
        app.verify(&twin).await.expect(200, "{}");
        app.blacklist(&pair.refresh).await.expect(200, "{}");
        for token in [&twin, &pair.access] {
            app.verify(token).await.expect(400, VERIFY_BLACKLISTED);
            shut_out(&app, "Token is blacklisted", "twin", token).await;
        }
    }
}

#[tokio::test]
async fn malformed_eddsa_signature_is_refused() {
    let app = TestApp::start_with(Backend::Embedded, &["--algorithm=EdDSA"]).await;
    let pair = app.signed_in("ada").await;
    let good = signature_of(&pair.access);
    let (r, s) = good.split_at(32);
    let reversed = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<u8>>();
    let (stretched, carry) = plus(&reversed(s), &reversed(&ED25519_ORDER));
    assert!(!carry);
    let identity = [&[1][..], &[0; 31]].concat();
    for (what, signature) in [
        ("S + L", [r, &reversed(&stretched)].concat()),
        ("S = L", [r, &ED25519_ORDER].concat()),
        ("S = 0", [r, &[0; 32]].concat()),
        (
            "S with its high bits set",
            [r, &s[..31], &[s[31] | 0xE0]].concat(),
        ),
        ("zeros", vec![0; 64]),
        ("the identity and 0", [&identity[..], &[0; 32]].concat()),
        ("one byte too few", good[..63].to_vec()),
        ("one byte too many", [&good[..], &[0]].concat()),
        ("swapped", [s, r].concat()),
    ] {
        refused(&app, what, &resigned(&pair.access, &signature)).await;
    }
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn malformed_rsa_signature_is_refused() {
    let app = TestApp::start_with(Backend::Embedded, &["--algorithm=RS256"]).await;
    let pair = app.signed_in("ada").await;
    let good = signature_of(&pair.access);
    let jwk = app.forge().key(Kind::Access).public_jwk().unwrap();
    let n = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    let (sum, carry) = plus(&good, &n);
    let longer = [&[u8::from(carry)][..], &sum].concat();
    for (what, signature) in [
        ("s + n", if carry { longer } else { sum }),
        ("n", n.clone()),
        ("n - s", minus(&n, &good)),
        ("0", vec![0; 256]),
        ("1", [&[0; 255][..], &[1]].concat()),
        ("all ones", vec![0xFF; 256]),
        ("one byte too few", good[..255].to_vec()),
        ("one byte too many", [&good[..], &[0]].concat()),
        ("a zero before", [&[0], &good[..]].concat()),
        ("twice", good.repeat(2)),
        ("one byte", vec![1]),
    ] {
        refused(&app, what, &resigned(&pair.access, &signature)).await;
    }
    // The same key could sign with PSS and longer hashes, but it is restricted to RS256.
    for name in ["RS384", "RS512", "PS256", "PS384", "PS512"] {
        let path = std::fs::read_dir(&app.config.keys.keys_dir)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let path = path
            .into_iter()
            .find(|path| path.to_string_lossy().contains("-access-"))
            .unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let key = SigningKey::from_pem(name.parse().unwrap(), Kind::Access, &text).unwrap();
        for declared in [name, "RS256"] {
            let header = json!({ "alg": declared, "typ": "at+jwt", "kid": key.kid() }).to_string();
            let input = format!(
                "{}.{}",
                encode(header.as_bytes()),
                segments(&pair.access)[1]
            );
            let token = format!("{input}.{}", encode(&key.sign(input.as_bytes()).unwrap()));
            refused(&app, &format!("{name} declared as {declared}"), &token).await;
        }
    }
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn truncated_or_altered_mac_is_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let good = signature_of(&pair.refresh);
    for length in [1, 8, 16, 31] {
        refused(&app, "cut", &resigned(&pair.refresh, &good[..length])).await;
    }
    refused(
        &app,
        "longer",
        &resigned(&pair.refresh, &[&good[..], &[0]].concat()),
    )
    .await;
    for index in 0..32 {
        let mut flipped = good.clone();
        flipped[index] ^= 1;
        refused(&app, "a flipped bit", &resigned(&pair.refresh, &flipped)).await;
    }
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn signature_of_another_token_is_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    let (ada, eve) = (app.signed_in("ada").await, app.signed_in("eve").await);
    for (ada, eve) in [
        (&ada.access, &eve.access),
        (&ada.refresh, &eve.refresh),
        (&ada.access, &ada.refresh),
    ] {
        let ([header, payload, signature], [other_header, other_payload, other_signature]) =
            (segments(ada), segments(eve));
        for forged in [
            format!("{header}.{other_payload}.{signature}"),
            format!("{header}.{payload}.{other_signature}"),
            format!("{other_header}.{payload}.{signature}"),
        ] {
            if forged != *ada && forged != *eve {
                refused(&app, "mixed", &forged).await;
            }
        }
    }
    still_good(&app, &ada).await;
    still_good(&app, &eve).await;
}

#[tokio::test]
async fn forged_token_gets_one_error_for_any_claims() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let (now, forge) = (app.now(), app.forge());
    let attackers = [Algorithm::Es256, Algorithm::Hs256].map(|algorithm| {
        SigningKey::generate(algorithm, Kind::Access, None)
            .unwrap()
            .0
    });
    for (kind, token, attacker) in [
        (Kind::Access, &pair.access, &attackers[0]),
        (Kind::Refresh, &pair.refresh, &attackers[1]),
    ] {
        for changes in [
            json!({}),
            json!({ "exp": now - 100 }),
            json!({ "exp": null }),
            json!({ "exp": "x" }),
            json!({ "nbf": now + 9 }),
            json!({ "iss": "x" }),
            json!({ "token_type": "x" }),
            json!({ "jti": null }),
            json!({ "user_id": "eve" }),
            json!({ "sub": "eve" }),
            json!({ "sid": "00000000-0000-4000-8000-000000000000" }),
            json!({ "gen": 7 }),
        ] {
            let unsigned = forge.altered(token, kind, &changes);
            let (input, _) = unsigned.rsplit_once('.').unwrap();
            let forged = format!(
                "{input}.{}",
                encode(&attacker.sign(input.as_bytes()).unwrap())
            );
            refused(&app, &changes.to_string(), &forged).await;
        }
        let (input, _) = token.rsplit_once('.').unwrap();
        assert_eq!(
            Forge::claims_of(token)["exp"].as_i64().map(|exp| exp > now),
            Some(true)
        );
        shut_out(
            &app,
            INVALID,
            "junk payload",
            &format!("{input}.{}", encode(&[7; 64])),
        )
        .await;
    }
    // Forgeries that name the session do not revoke it.
    still_good(&app, &pair).await;
    app.refresh(&pair.refresh).await.pair();
}
