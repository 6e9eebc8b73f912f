//! Forged tokens, one case of each class, at every endpoint that accepts a token. The service
//! verifies with latchkey-verifier, whose tests have the variants of each class.

use base64::{
    Engine as _,
    engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD},
};
use latchkey_crypto::signing_key::SigningKey;
use latchkey_verifier::{Algorithm, Kind, MAX_TOKEN_LENGTH};
use serde_json::{Value, json};

use super::{INVALID, VERIFY_BLACKLISTED, refused, segments, shut_out, still_good, with};
use latchkey_testkit::{Backend, Forge, Pair, TestApp, encode};

/// Order of P-256 (SEC 2, section 2.4.2), big-endian.
const P256_ORDER: [u8; 32] = [
    0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xBC, 0xE6,
    0xFA, 0xAD, 0xA7, 0x17, 0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51,
];

fn both(pair: &Pair) -> [(Kind, &String); 2] {
    [(Kind::Access, &pair.access), (Kind::Refresh, &pair.refresh)]
}

fn attackers_key(kind: Kind) -> SigningKey {
    let algorithm = match kind {
        Kind::Access => Algorithm::Es256,
        Kind::Refresh => Algorithm::Hs256,
    };
    SigningKey::generate(algorithm, kind, None).unwrap().0
}

fn decoded(segment: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(segment).unwrap()
}

/// Returns a token with another signature.
fn resigned(token: &str, signature: &[u8]) -> String {
    let (input, _) = token.rsplit_once('.').unwrap();
    format!("{input}.{}", encode(signature))
}

/// Headers that choose the algorithm or the key. Each is signed with the correct key.
fn headers(forge: &Forge, kind: Kind, url: &str) -> Vec<(&'static str, String)> {
    let good = forge.header(kind);
    let other_kind = match kind {
        Kind::Access => Kind::Refresh,
        Kind::Refresh => Kind::Access,
    };
    let own = good["alg"].as_str().unwrap();
    let jwk = attackers_key(Kind::Access).public_jwk().unwrap();
    let changed = |name: &str, value: Value| with(good.clone(), name, value).to_string();
    let mut without_kid = good.clone();
    without_kid.as_object_mut().unwrap().remove("kid");
    vec![
        ("none", json!({ "alg": "none" }).to_string()),
        ("none in other letters", changed("alg", json!("nOnE"))),
        ("another algorithm", changed("alg", json!("HS512"))),
        (
            "misspelt algorithm",
            changed("alg", json!(own.to_lowercase())),
        ),
        ("list of algorithms", changed("alg", json!([own]))),
        ("no kid", without_kid.to_string()),
        ("unknown kid", changed("kid", json!("unknown"))),
        ("kid as a path", changed("kid", json!("../../dev/null"))),
        ("kid as a query", changed("kid", json!("' OR '1'='1"))),
        ("kid of another type", changed("kid", json!(null))),
        (
            "kid of the other kind",
            changed("kid", forge.header(other_kind)["kid"].clone()),
        ),
        (
            "key in the token",
            with(
                with(good.clone(), "jwk", jwk.clone()),
                "kid",
                jwk["kid"].clone(),
            )
            .to_string(),
        ),
        (
            "key at a URL",
            with(with(good.clone(), "jku", url), "kid", jwk["kid"].clone()).to_string(),
        ),
        ("critical extension", changed("crit", json!(["exp"]))),
        ("unencoded payload", changed("b64", json!(false))),
        (
            "encrypted token",
            json!({ "alg": "dir", "enc": "A256GCM", "kid": good["kid"] }).to_string(),
        ),
        (
            "duplicate member",
            good.to_string().replacen('{', r#"{"alg":"none","#, 1),
        ),
        ("no object", format!("[{good}]")),
        ("byte-order mark", format!("\u{feff}{good}")),
    ]
}

/// Payloads that are not one JSON object with unique names.
fn payloads(good: &str) -> [(&'static str, String); 5] {
    let first = |member: &str| good.replacen('{', &format!("{{{member},"), 1);
    [
        ("no object", format!("[{good}]")),
        ("two objects", format!("{good}{good}")),
        ("duplicate claim", first(r#""sub":"eve""#)),
        ("lone surrogate", first(r#""x":"\ud800""#)),
        (
            "deep nesting",
            first(&format!(r#""x":{}{}"#, "[".repeat(500), "]".repeat(500))),
        ),
    ]
}

/// Other forms of a valid token.
fn forms(token: &str, other: &str) -> Vec<(&'static str, String)> {
    let [header, payload, signature] = segments(token);
    let bytes = decoded(signature);
    vec![
        ("two segments", format!("{header}.{payload}")),
        ("four segments", format!("{token}.{signature}")),
        ("five segments", format!("{header}..{payload}.{payload}.{signature}")),
        ("no signature", format!("{header}.{payload}.")),
        ("padding", format!("{header}.{payload}.{}", URL_SAFE.encode(&bytes))),
        ("percent encoding", token.replace('.', "%2e")),
        ("fullwidth dot", token.replace('.', "\u{ff0e}")),
        ("quotes", format!("\"{token}\"")),
        ("flattened JSON", json!({ "protected": header, "payload": payload, "signature": signature }).to_string()),
        ("general JSON", json!({ "payload": payload, "signatures": [{ "protected": header, "signature": signature }] }).to_string()),
        ("cut signature", resigned(token, &bytes[..16])),
        ("long signature", resigned(token, &[&bytes[..], &[0]].concat())),
        ("zero signature", resigned(token, &vec![0; bytes.len()])),
        ("signature of another token", resigned(token, &decoded(segments(other)[2]))),
        ("claims of another token", format!("{header}.{}.{signature}", segments(other)[1])),
    ]
}

#[tokio::test]
async fn forged_token_of_each_class_is_refused() {
    // A server that fetches the key connects here.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    let app = TestApp::start(Backend::Embedded).await;
    let (pair, eve) = (app.signed_in("ada").await, app.signed_in("eve").await);
    let forge = app.forge();
    for ((kind, token), (_, eves)) in both(&pair).into_iter().zip(both(&eve)) {
        let claims = Forge::claims_of(token).to_string();
        let attacker = attackers_key(kind);
        let mut forged = forms(token, eves);
        for (what, header) in headers(&forge, kind, &url) {
            let signed = forge.signed(kind, &header, &claims);
            let (input, _) = signed.rsplit_once('.').unwrap();
            forged.push((what, format!("{input}.")));
            let signature = attacker.sign(input.as_bytes()).unwrap();
            forged.push((what, resigned(&signed, &signature)));
            forged.push((what, signed));
        }
        let header = forge.header(kind).to_string();
        for (what, payload) in payloads(&claims) {
            forged.push((what, forge.signed(kind, &header, &payload)));
        }
        for (what, forged) in forged {
            refused(&app, what, &forged).await;
        }
    }
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock,
        "the server fetched a key"
    );
    still_good(&app, &pair).await;
    still_good(&app, &eve).await;
}

#[tokio::test]
async fn white_space_in_a_token_is_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let body = format!(r#"{{"detail":"{INVALID}","code":"token_not_valid"}}"#);
    // The protected view is omitted, because a space splits the `Authorization` header.
    for blank in [" ", "\r\n", "\t", "\u{a0}"] {
        let forged = pair.refresh.replacen('.', &format!("{blank}."), 1);
        app.verify(&forged).await.expect(401, &body);
        app.refresh(&forged).await.expect(401, &body);
        app.blacklist(&forged).await.expect(401, &body);
    }
    still_good(&app, &pair).await;
}

/// The claims of a forgery are not evaluated, so they do not affect the error.
#[tokio::test]
async fn forged_token_gets_one_error_for_any_claims() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let (now, forge) = (app.now(), app.forge());
    for (kind, token) in both(&pair) {
        let attacker = attackers_key(kind);
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
            let signed = forge.altered(token, kind, &changes);
            let (input, _) = signed.rsplit_once('.').unwrap();
            let signature = attacker.sign(input.as_bytes()).unwrap();
            refused(&app, &changes.to_string(), &resigned(&signed, &signature)).await;
        }
    }
    // Forgeries that name the session do not revoke it.
    still_good(&app, &pair).await;
    app.refresh(&pair.refresh).await.pair();
}

#[tokio::test]
async fn revocation_covers_the_malleable_ecdsa_signature() {
    for backend in [Backend::Embedded, Backend::PostgresAndRedis] {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        let good = decoded(segments(&pair.access)[2]);
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

/// Returns `a - b` for big-endian numbers of equal length.
fn minus(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut difference = a.to_vec();
    let mut borrow = 0;
    for (digit, other) in difference.iter_mut().zip(b).rev() {
        let rest = i16::from(*digit) - i16::from(*other) - borrow;
        borrow = i16::from(rest < 0);
        *digit = rest.to_le_bytes()[0];
    }
    difference
}

#[tokio::test]
async fn thousand_unknown_kids_do_not_affect_valid_tokens() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let good = app.forge().header(Kind::Access);
    let body = format!(r#"{{"detail":"{INVALID}","code":"token_not_valid"}}"#);
    for index in 0..1000 {
        let header = with(good.clone(), "kid", format!("kid-{index}")).to_string();
        let token = format!("{}.{}.AAAA", encode(header.as_bytes()), encode(b"{}"));
        app.verify(&token).await.expect(401, &body);
    }
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn token_beyond_the_maximum_length_is_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let forge = app.forge();
    let long = |length: usize| {
        let filler = json!({ "filler": "x".repeat(length) });
        forge.altered(&pair.access, Kind::Access, &filler)
    };
    let base = long(0).len();
    let fits = long((MAX_TOKEN_LENGTH - base - 4) / 4 * 3);
    assert!(fits.len() <= MAX_TOKEN_LENGTH && fits.len() > MAX_TOKEN_LENGTH - 8);
    app.verify(&fits).await.expect(200, "{}");
    let too_long = long((MAX_TOKEN_LENGTH - base) / 4 * 3 + 4);
    assert!(too_long.len() > MAX_TOKEN_LENGTH && too_long.len() < MAX_TOKEN_LENGTH + 12);
    refused(&app, "too long", &too_long).await;
    let longest = "A".repeat(2 * MAX_TOKEN_LENGTH - 100);
    let body = format!(r#"{{"detail":"{INVALID}","code":"token_not_valid"}}"#);
    app.verify(&longest).await.expect(401, &body);
    for (path, field) in [
        ("verify", "token"),
        ("refresh", "refresh"),
        ("blacklist", "refresh"),
    ] {
        let body = json!({ field: "A.".repeat(20_000) }).to_string();
        let answer = app.post(&format!("/api/token/{path}/"), &body).await;
        answer.expect(413, r#"{"detail":"Request body is too large."}"#);
    }
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn invalid_authorization_header_gets_a_response() {
    let app = TestApp::start(Backend::Embedded).await;
    for junk in [
        "\"",
        "{}",
        "null",
        "undefined",
        "[object",
        "%",
        "'--",
        "AAAA",
        "eyJhbGciOiJub25lIn0.e30.",
    ] {
        shut_out(&app, INVALID, "junk", junk).await;
    }
    let bytes = b"GET /api/auth/user/ HTTP/1.1\r\nhost: x\r\nauthorization: Bearer \xff\xfe.\x80.\x81\r\nconnection: close\r\n\r\n";
    assert!(app.raw(bytes).starts_with("HTTP/1.1 401"));
}
