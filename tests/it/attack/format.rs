//! Other encodings of a valid token, and input that is not a signed token.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use latchkey_verifier::{Kind, MAX_TOKEN_LENGTH};
use serde_json::json;

use super::{INVALID, refused, segments, shut_out, still_good};
use latchkey_testkit::{Backend, Forge, TestApp, encode};

#[tokio::test]
async fn token_must_have_three_segments() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    for token in [&pair.access, &pair.refresh] {
        let [header, payload, signature] = segments(token);
        for forged in [
            ".".to_owned(),
            "..".to_owned(),
            "...".to_owned(),
            "a.b.c".to_owned(),
            header.to_owned(),
            format!("{header}.{payload}"),
            format!("{header}.{payload}."),
            format!("{header}..{signature}"),
            format!(".{payload}.{signature}"),
            format!("{token}."),
            format!(".{token}"),
            format!("{token}.{signature}"),
            format!("{header}.{token}"),
            format!("{token}.AAAA.AAAA"),
            format!("{token}{token}"),
            format!("{token}.{token}"),
            format!("{header}{payload}.{signature}"),
            format!("{payload}.{header}.{signature}"),
        ] {
            refused(&app, "segments", &forged).await;
        }
    }
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn encrypted_token_is_refused_without_decryption() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let kid = app.forge().key(Kind::Access).kid().to_owned();
    for header in [
        json!({ "alg": "dir", "enc": "A256GCM", "kid": kid }),
        json!({ "alg": "RSA-OAEP", "enc": "A256GCM", "kid": kid, "cty": "JWT" }),
        json!({ "alg": "PBES2-HS512+A256KW", "enc": "A256GCM", "p2s": "AAAAAAAAAAA", "p2c": 2_147_483_647 }),
        json!({ "alg": "ECDH-ES", "enc": "A256GCM", "epk": { "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" } }),
        json!({ "alg": "dir", "enc": "A256GCM", "zip": "DEF", "kid": kid }),
        json!({ "alg": "ES256", "enc": "A256GCM", "typ": "at+jwt", "kid": kid }),
    ] {
        let header = encode(header.to_string().as_bytes());
        // An unsecured token inside, and an empty key.
        for inner in [encode(br#"{"alg":"none"}"#), encode(b"inner")] {
            refused(
                &app,
                "five segments",
                &format!(
                    "{header}..{}.{inner}.{}",
                    encode(&[0; 12]),
                    encode(&[0; 16])
                ),
            )
            .await;
            refused(
                &app,
                "five segments",
                &format!("{header}.{inner}.{inner}.{inner}.{inner}"),
            )
            .await;
        }
        refused(
            &app,
            "three segments",
            &format!("{header}.{}.AAAA", segments(&pair.access)[1]),
        )
        .await;
    }
}

#[tokio::test]
async fn json_serialization_is_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    for token in [&pair.access, &pair.refresh] {
        let [header, payload, signature] = segments(token);
        for forged in [
            json!({ "protected": header, "payload": payload, "signature": signature }),
            json!({ "payload": payload, "signatures": [{ "protected": header, "signature": signature }] }),
            json!([token]),
            json!(token),
        ] {
            let forged = forged.to_string();
            // A space would split the `Authorization` header of the protected view.
            refused(&app, "JSON serialization", &forged).await;
        }
        refused(&app, "segments joined into one", &format!("{{{token}}}")).await;
    }
    // JSON instead of a string: the field itself is invalid.
    let [header, payload, signature] = segments(&pair.refresh);
    let body =
        json!({ "refresh": { "protected": header, "payload": payload, "signature": signature } });
    app.post("/api/token/refresh/", &body.to_string())
        .await
        .expect(400, r#"{"refresh":["Not a valid string."]}"#);
}

#[tokio::test]
async fn token_has_exactly_one_encoding() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    for token in [&pair.access, &pair.refresh] {
        let [header, payload, signature] = segments(token);
        let raw = |segment: &str| {
            base64::engine::general_purpose::URL_SAFE_NO_PAD
                .decode(segment)
                .unwrap()
        };
        let padded = |segment: &str| URL_SAFE.encode(raw(segment));
        let mut forged = vec![
            format!("{token}="),
            format!("{token}=="),
            format!("{header}=.{payload}.{signature}"),
            format!("{header}.{payload}==.{signature}"),
            format!("{header}.{payload}.{}", padded(signature)),
            format!(
                "{header}.{payload}.{}=",
                STANDARD.encode(raw(signature)).trim_end_matches('=')
            ),
            format!("{header}%2e{payload}%2e{signature}"),
            token.replace('.', "\u{ff0e}"),
            token.replace('.', "\u{3002}"),
            token.replacen('e', "\u{ff45}", 1),
            token.replacen('J', "%4A", 1),
            format!("{token}#"),
            format!("{token}?a=1"),
            format!("\"{token}\""),
            format!("{header}.{payload}.!{signature}"),
            format!("{header}.{payload}.{signature}\u{200b}"),
            format!("\u{feff}{token}"),
            token.to_uppercase(),
            token.to_lowercase(),
        ];
        // The same bytes in the standard alphabet, if they differ.
        let standard = token.replace('-', "+").replace('_', "/");
        if standard != *token {
            forged.push(standard);
        }
        for forged in forged {
            refused(&app, "spelling", &forged).await;
        }
        // White space inside the token, which would split the `Authorization` header.
        for position in [1, header.len(), header.len() + 1, token.len() - 1] {
            for blank in [" ", "\n", "\r\n", "\t", "\u{a0}", "\u{b}"] {
                let mut forged = token.clone();
                forged.insert_str(position, blank);
                let body = r#"{"detail":"Token is invalid","code":"token_not_valid"}"#;
                app.verify(&forged).await.expect(401, body);
                app.refresh(&forged).await.expect(401, body);
            }
        }
    }
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn unused_base64_bits_must_be_zero() {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let mut tried = 0;
    for (kind, token) in [(Kind::Access, &pair.access), (Kind::Refresh, &pair.refresh)] {
        let last = token.len() - 1;
        let digit = ALPHABET
            .iter()
            .position(|c| *c == token.as_bytes()[last])
            .unwrap();
        // 64 bytes leave four unused bits, 32 bytes leave two. Lenient decoders ignore them, so
        // these digits all decode to the same signature.
        let unused_values = if kind == Kind::Access { 16 } else { 4 };
        for twin in
            (0..64).filter(|twin| *twin != digit && twin / unused_values == digit / unused_values)
        {
            let forged = format!("{}{}", &token[..last], char::from(ALPHABET[twin]));
            refused(&app, "trailing bits", &forged).await;
            tried += 1;
        }
        // The same in the header and in the payload, signed over the changed text.
        let forge = app.forge();
        let header = forge.header(kind).to_string();
        let padding = (0..3)
            .map(|n| format!("{header}{}", " ".repeat(n)))
            .find(|text| text.len() % 3 == 1)
            .unwrap();
        let mut odd = encode(padding.as_bytes()).into_bytes();
        *odd.last_mut().unwrap() += 1;
        let input = format!("{}.{}", String::from_utf8(odd).unwrap(), segments(token)[1]);
        let forged = format!(
            "{input}.{}",
            encode(&forge.key(kind).sign(input.as_bytes()).unwrap())
        );
        refused(&app, "trailing bits of the header", &forged).await;
    }
    assert_eq!(tried, 15 + 3);
}

#[tokio::test]
async fn token_beyond_the_maximum_length_is_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let forge = app.forge();
    let long = |length: usize| {
        forge.altered(
            &pair.access,
            Kind::Access,
            &json!({ "filler": "x".repeat(length) }),
        )
    };
    let base = long(0).len();
    let fits = long((MAX_TOKEN_LENGTH - base - 4) / 4 * 3);
    assert!(fits.len() <= MAX_TOKEN_LENGTH && fits.len() > MAX_TOKEN_LENGTH - 8);
    app.verify(&fits).await.expect(200, "{}");
    let too_long = long((MAX_TOKEN_LENGTH - base) / 4 * 3 + 4);
    assert!(too_long.len() > MAX_TOKEN_LENGTH && too_long.len() < MAX_TOKEN_LENGTH + 12);
    refused(&app, "too long", &too_long).await;
    let longest = "A".repeat(2 * MAX_TOKEN_LENGTH - 100);
    app.verify(&longest).await.expect(
        401,
        r#"{"detail":"Token is invalid","code":"token_not_valid"}"#,
    );
    for path in ["verify", "refresh", "blacklist"] {
        let field = if path == "verify" { "token" } else { "refresh" };
        let body = json!({ field: "A.".repeat(20_000) }).to_string();
        let answer = app.post(&format!("/api/token/{path}/"), &body).await;
        assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
    }
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn payload_must_be_one_json_object_in_utf_8() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let forge = app.forge();
    for (kind, token) in [(Kind::Access, &pair.access), (Kind::Refresh, &pair.refresh)] {
        let good = Forge::claims_of(token).to_string();
        let mut payloads: Vec<Vec<u8>> = [
            "null".to_owned(),
            "true".to_owned(),
            "[]".to_owned(),
            format!("[{good}]"),
            json!(good).to_string(),
            format!("{good}{good}"),
            format!("{good}x"),
            format!("\u{feff}{good}"),
            format!("{good}\0"),
            good.replacen('{', r#"{"x":"\ud800","#, 1),
            good.replacen('{', r#"{"x":"\udc00\ud800","#, 1),
            good.replacen('{', r#"{"\ud800":1,"#, 1),
            good.replacen('{', r#"{"x":NaN,"#, 1),
            good.replacen('{', r#"{"x":Infinity,"#, 1),
            good.replacen('{', r#"{"x":1e400,"#, 1),
            good.replacen('{', r#"{"x":01,"#, 1),
            good.replacen('}', ",}", 1),
            good.replace('"', "'"),
            good.replacen(
                '{',
                &format!(r#"{{"x":{}{},"#, "[".repeat(500), "]".repeat(500)),
                1,
            ),
            good.replacen(
                '{',
                &format!(r#"{{"x":{}1{},"#, r#"{"a":"#.repeat(300), "}".repeat(300)),
                1,
            ),
        ]
        .map(String::into_bytes)
        .into();
        payloads.push(good.encode_utf16().flat_map(u16::to_le_bytes).collect());
        payloads.push(good.bytes().chain([0xFF]).collect());
        payloads.push(
            good.replacen('{', "{\"x\":\"?\",", 1)
                .bytes()
                .map(|b| if b == b'?' { 0xC0 } else { b })
                .collect(),
        );
        for payload in payloads {
            let input = format!(
                "{}.{}",
                encode(forge.header(kind).to_string().as_bytes()),
                encode(&payload)
            );
            let token = format!(
                "{input}.{}",
                encode(&forge.key(kind).sign(input.as_bytes()).unwrap())
            );
            refused(&app, &String::from_utf8_lossy(&payload), &token).await;
        }
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
