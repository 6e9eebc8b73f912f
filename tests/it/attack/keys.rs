//! Public keys as HMAC secrets, and tokens signed with foreign keys.

use aws_lc_rs::hmac;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use latchkey_crypto::signing_key::SigningKey;
use latchkey_verifier::{Algorithm, Kind};
use serde_json::json;

use super::{refused, segments, still_good, with};
use latchkey_testkit::{Backend, TestApp, encode};

/// Prefix of a P-256 point in a `SubjectPublicKeyInfo` (RFC 5480).
const SPKI: &str = "3059301306072a8648ce3d020106082a8648ce3d030107034200";

fn pem(der: &[u8], newline: &str) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN PUBLIC KEY-----{newline}{}{newline}-----END PUBLIC KEY-----",
        lines.join(newline)
    )
}

fn openssh(point: &[u8]) -> Vec<u8> {
    let mut blob = Vec::new();
    for part in [b"ecdsa-sha2-nistp256", &b"nistp256"[..], point] {
        blob.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        blob.extend(part);
    }
    blob
}

#[tokio::test]
async fn es256_public_key_as_hmac_secret_is_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let forge = app.forge();
    let jwks = app.get("/.well-known/jwks.json").await;
    let jwk = jwks.json()["keys"][0].clone();
    let member = |name: &str| jwk[name].as_str().unwrap().to_owned();
    let raw = |name: &str| URL_SAFE_NO_PAD.decode(member(name)).unwrap();
    let (x, y) = (raw("x"), raw("y"));
    let point = [&[4], &x[..], &y].concat();
    let prefix: Vec<u8> = (0..SPKI.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&SPKI[i..i + 2], 16).unwrap())
        .collect();
    let der = [&prefix[..], &point].concat();
    let ssh = openssh(&point);
    let canonical =
        json!({ "crv": jwk["crv"], "kty": jwk["kty"], "x": jwk["x"], "y": jwk["y"] }).to_string();
    let compressed = [&[2 + (y[31] & 1)], &x[..]].concat();
    let secrets: Vec<Vec<u8>> = vec![
        pem(&der, "\n").into(),
        format!("{}\n", pem(&der, "\n")).into(),
        format!("{}\r\n", pem(&der, "\r\n")).into(),
        STANDARD.encode(&der).into(),
        encode(&der).into(),
        der,
        format!("ecdsa-sha2-nistp256 {}", STANDARD.encode(&ssh)).into(),
        ssh,
        jwks.text.clone().into(),
        jwk.to_string().into(),
        canonical.into(),
        [x.clone(), y.clone()].concat(),
        point,
        compressed,
        x,
        y,
        member("x").into(),
        member("y").into(),
        raw("kid"),
        member("kid").into(),
        Vec::new(),
        vec![0; 32],
        vec![0; 64],
        b"secret".to_vec(),
        b"https://auth.test".to_vec(),
    ];
    for secret in secrets {
        for (alg, hash) in [
            ("HS256", hmac::HMAC_SHA256),
            ("HS384", hmac::HMAC_SHA384),
            ("HS512", hmac::HMAC_SHA512),
        ] {
            // The access token's public key as a secret, for access and for refresh tokens.
            for (kind, token) in [(Kind::Access, &pair.access), (Kind::Refresh, &pair.refresh)] {
                let header = with(forge.header(kind), "alg", alg).to_string();
                let input = format!("{}.{}", encode(header.as_bytes()), segments(token)[1]);
                let mac = hmac::sign(&hmac::Key::new(hash, &secret), input.as_bytes());
                let what = String::from_utf8_lossy(&secret).into_owned();
                refused(&app, &what, &format!("{input}.{}", encode(mac.as_ref()))).await;
            }
        }
    }
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn token_of_a_foreign_key_is_refused() {
    for algorithm in ["ES256", "EdDSA", "PS256", "HS256"] {
        let app =
            TestApp::start_with(Backend::Embedded, &[&format!("--algorithm={algorithm}")]).await;
        let pair = app.signed_in("ada").await;
        let forge = app.forge();
        for (kind, token, algorithm) in [
            (Kind::Access, &pair.access, algorithm),
            (Kind::Refresh, &pair.refresh, "HS256"),
        ] {
            let foreign_key =
                SigningKey::generate(algorithm.parse::<Algorithm>().unwrap(), kind, None)
                    .unwrap()
                    .0;
            // With our `kid`, with the foreign `kid`, and without one.
            for kid in [
                json!(forge.key(kind).kid()),
                json!(foreign_key.kid()),
                json!(null),
            ] {
                let header = with(forge.header(kind), "kid", kid).to_string();
                let input = format!("{}.{}", encode(header.as_bytes()), segments(token)[1]);
                let forged = format!(
                    "{input}.{}",
                    encode(&foreign_key.sign(input.as_bytes()).unwrap())
                );
                refused(&app, algorithm, &forged).await;
            }
        }
        still_good(&app, &pair).await;
    }
}

#[tokio::test]
async fn token_of_another_server_with_the_same_issuer_is_refused() {
    let (ours, theirs) = (
        TestApp::start(Backend::Embedded).await,
        TestApp::start(Backend::Embedded).await,
    );
    let pair = ours.signed_in("ada").await;
    let other = theirs.signed_in("ada").await;
    refused(&ours, "access", &other.access).await;
    refused(&ours, "refresh", &other.refresh).await;
    still_good(&ours, &pair).await;
    still_good(&theirs, &other).await;
}

#[tokio::test]
async fn key_set_contains_only_public_keys() {
    for (algorithm, members) in [
        ("ES256", &["alg", "crv", "kid", "kty", "use", "x", "y"][..]),
        ("EdDSA", &["alg", "crv", "kid", "kty", "use", "x"]),
        ("RS256", &["alg", "e", "kid", "kty", "n", "use"]),
        ("HS256", &[]),
    ] {
        let app =
            TestApp::start_with(Backend::Embedded, &[&format!("--algorithm={algorithm}")]).await;
        let pair = app.signed_in("ada").await;
        let jwks = app.get("/.well-known/jwks.json").await;
        assert_eq!(jwks.status, 200);
        let keys = jwks.json()["keys"].as_array().unwrap().clone();
        assert_eq!(keys.len(), usize::from(!members.is_empty()), "{algorithm}");
        for key in &keys {
            let mut names: Vec<&str> = key
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect();
            names.sort_unstable();
            assert_eq!(
                (names.as_slice(), key["use"].as_str()),
                (members, Some("sig"))
            );
            assert_eq!(key["kid"], app.forge().header(Kind::Access)["kid"]);
        }
        assert!(
            !jwks.text.contains(app.forge().key(Kind::Refresh).kid()),
            "{algorithm}: the key set contains the refresh secret"
        );
        still_good(&app, &pair).await;
    }
}
