//! Headers that try to choose the algorithm or the key, signed with the correct key where possible.

use latchkey_verifier::Kind;
use serde_json::{Value, json};

use super::{refused, segments, still_good, with};
use latchkey_testkit::{Backend, Forge, TestApp, encode};

const KINDS: [Kind; 2] = [Kind::Access, Kind::Refresh];

/// Fails unless each header is refused with the claims of a live session and three signatures:
/// correct, empty and invalid.
async fn all_refused(
    app: &TestApp,
    token: &str,
    kind: Kind,
    headers: impl IntoIterator<Item = String>,
) {
    let forge = app.forge();
    let payload = Forge::claims_of(token).to_string();
    for header in headers {
        let signed = forge.signed(kind, &header, &payload);
        let (input, _) = signed.rsplit_once('.').unwrap();
        for (what, token) in [
            ("signed", signed.clone()),
            ("empty signature", format!("{input}.")),
            ("junk", format!("{input}.AAAA")),
        ] {
            refused(app, &format!("{what} {header:.200}"), &token).await;
        }
    }
}

#[tokio::test]
async fn unsecured_token_is_refused_in_every_spelling_of_none() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    for (kind, token) in KINDS.into_iter().zip([&pair.access, &pair.refresh]) {
        let good = app.forge().header(kind);
        let values = [
            json!("none"),
            json!("None"),
            json!("NONE"),
            json!("noNE"),
            json!("nOnE"),
            json!("none "),
            json!(" none"),
            json!("n\u{f6}ne"),
            json!("none\0"),
            json!(""),
            json!(null),
            json!(0),
            json!(false),
            json!([]),
            json!(["none"]),
            json!({}),
            json!([good["alg"]]),
            json!({ "alg": good["alg"] }),
        ];
        let mut headers: Vec<String> = values
            .map(|alg| with(good.clone(), "alg", alg).to_string())
            .into();
        headers.push(json!({ "typ": good["typ"], "kid": good["kid"] }).to_string());
        headers.push(r#"{"alg":"none"}"#.to_owned());
        all_refused(&app, token, kind, headers).await;
    }
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn algorithm_must_match_the_key_exactly() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    for (kind, token) in KINDS.into_iter().zip([&pair.access, &pair.refresh]) {
        let good = app.forge().header(kind);
        let own = good["alg"].as_str().unwrap().to_owned();
        let others = [
            "HS256",
            "HS384",
            "HS512",
            "ES256",
            "ES384",
            "ES512",
            "ES256K",
            "EdDSA",
            "RS256",
            "PS256",
            "A128KW",
            "dir",
            "PBES2-HS256+A128KW",
            "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256",
        ];
        let spellings = [
            own.to_lowercase(),
            format!("{own} "),
            format!("\t{own}"),
            format!("{own}\0"),
            own.repeat(2),
        ];
        let wrong = others
            .map(str::to_owned)
            .into_iter()
            .filter(|alg| *alg != own)
            .chain(spellings);
        let headers: Vec<String> = wrong
            .map(|alg| with(good.clone(), "alg", alg).to_string())
            .collect();
        all_refused(&app, token, kind, headers).await;
    }
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn kid_as_path_query_or_url_is_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    for (kind, token) in KINDS.into_iter().zip([&pair.access, &pair.refresh]) {
        let good = app.forge().header(kind);
        let kid = good["kid"].as_str().unwrap();
        let other = app.forge().header(if kind == Kind::Access {
            Kind::Refresh
        } else {
            Kind::Access
        })["kid"]
            .clone();
        let values = [
            json!("../../../../../../dev/null"),
            json!("/dev/null"),
            json!("file:///dev/null"),
            json!("keys/../../x"),
            json!("https://evil.example/key"),
            json!("' OR '1'='1"),
            json!("x' UNION SELECT 'secret' --"),
            json!("|/usr/bin/id"),
            json!("$(id)"),
            json!("%00"),
            json!("\0"),
            json!(""),
            json!("*"),
            json!(" "),
            json!(kid.to_uppercase()),
            json!(format!("{kid} ")),
            json!(format!("{kid}\0")),
            json!(&kid[..42]),
            json!(null),
            json!(0),
            json!(-1),
            json!(1e300),
            json!(true),
            json!([kid]),
            json!({ "kid": kid }),
            other,
            json!("x".repeat(4000)),
            json!("\u{202e}\u{1f511}"),
        ];
        let mut headers: Vec<String> = values
            .map(|value| with(good.clone(), "kid", value).to_string())
            .into();
        headers.push(json!({ "alg": good["alg"], "typ": good["typ"] }).to_string());
        all_refused(&app, token, kind, headers).await;
    }
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn thousand_unknown_kids_do_not_affect_valid_tokens() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let forge = app.forge();
    for index in 0..1000 {
        let header = with(forge.header(Kind::Access), "kid", format!("kid-{index}")).to_string();
        let token = format!("{}.{}.AAAA", encode(header.as_bytes()), encode(b"{}"));
        app.verify(&token).await.expect(
            401,
            r#"{"detail":"Token is invalid","code":"token_not_valid"}"#,
        );
    }
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn key_inside_the_token_is_ignored() {
    // A server that fetches the key connects here.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let (attacker, own_jwk) = attackers_key();
    let good = app.forge().header(Kind::Access);
    let own_kid = own_jwk["kid"].clone();
    for extra in [
        json!({ "jwk": own_jwk }),
        json!({ "jwk": own_jwk, "kid": own_kid }),
        json!({ "jku": url }),
        json!({ "jku": url, "kid": own_kid }),
        json!({ "x5u": url }),
        json!({ "x5c": ["MIIB"] }),
        json!({ "x5t": "AAAA", "x5t#S256": "AAAA" }),
        json!({ "jwk": { "kty": "oct", "k": "AAAA" } }),
        json!({ "jwk": { "kty": "oct", "k": "" }, "kid": null, "alg": "HS256" }),
    ] {
        let mut header = good.clone();
        header
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let input = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            segments(&pair.access)[1]
        );
        let token = format!(
            "{input}.{}",
            encode(&attacker.sign(input.as_bytes()).unwrap())
        );
        refused(&app, &header.to_string(), &token).await;
    }
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock,
        "the server fetched a key"
    );
}

fn attackers_key() -> (latchkey_crypto::signing_key::SigningKey, Value) {
    use latchkey_crypto::signing_key::SigningKey;
    let key = SigningKey::generate(latchkey_verifier::Algorithm::Es256, Kind::Access, None)
        .unwrap()
        .0;
    let jwk = key.public_jwk().unwrap();
    (key, jwk)
}

#[tokio::test]
async fn critical_header_parameters_are_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    for (kind, token) in KINDS.into_iter().zip([&pair.access, &pair.refresh]) {
        let good = app.forge().header(kind);
        let crit = |value: Value| with(good.clone(), "crit", value);
        let headers = [
            crit(json!([])),
            crit(json!(["exp"])),
            crit(json!(["b64"])),
            crit(json!(["alg"])),
            crit(json!(["x", "x"])),
            crit(json!("b64")),
            crit(json!(null)),
            crit(json!({})),
            crit(json!(0)),
            crit(json!([1])),
            crit(json!([""])),
            with(crit(json!(["b64"])), "b64", false),
            with(crit(json!(["b64"])), "b64", true),
            with(good.clone(), "b64", false),
            with(good.clone(), "b64", true),
            with(good.clone(), "b64", "false"),
            with(crit(json!(["x"])), "x", 1),
        ];
        all_refused(&app, token, kind, headers.map(|header| header.to_string())).await;
    }
    // Unencoded payload, signed according to RFC 7797.
    let forge = app.forge();
    let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": forge.key(Kind::Access).kid(), "b64": false, "crit": ["b64"] });
    let input = format!(
        "{}.{}",
        encode(header.to_string().as_bytes()),
        Forge::claims_of(&pair.access)
    );
    let token = format!(
        "{input}.{}",
        encode(&forge.key(Kind::Access).sign(input.as_bytes()).unwrap())
    );
    refused(&app, "unencoded payload", &token).await;
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn duplicate_header_parameters_are_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let good = app.forge().header(Kind::Access);
    let (kid, typ) = (&good["kid"], &good["typ"]);
    let headers = [
        format!(r#"{{"alg":"none","alg":"ES256","typ":{typ},"kid":{kid}}}"#),
        format!(r#"{{"alg":"ES256","alg":"ES256","typ":{typ},"kid":{kid}}}"#),
        format!(r#"{{"alg":"ES256","\u0061lg":"none","typ":{typ},"kid":{kid}}}"#),
        format!(r#"{{"alg":"ES256","typ":{typ},"kid":"x","kid":{kid}}}"#),
        format!(r#"{{"alg":"ES256","typ":"rt+jwt","typ":{typ},"kid":{kid}}}"#),
        format!(r#"{{"alg":"ES256","typ":{typ},"kid":{kid},"x":{{"a":1,"a":2}}}}"#),
    ];
    all_refused(&app, &pair.access, Kind::Access, headers).await;
}

#[tokio::test]
async fn header_must_be_one_json_object_in_utf_8() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let forge = app.forge();
    let good = forge.header(Kind::Access).to_string();
    let headers = [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        format!("[{good}]"),
        json!(good).to_string(),
        "5".to_owned(),
        format!("{good}{good}"),
        format!("{good} x"),
        format!("\u{feff}{good}"),
        good.replace('"', "'"),
        good.replacen('{', "{,", 1),
        good.replacen('}', ",}", 1),
        format!("{good}//"),
        good.replace("ES256", r"ES256\ud800"),
        good.replacen(
            '{',
            &format!(r#"{{"x":{}{},"#, "[".repeat(200), "]".repeat(200)),
            1,
        ),
    ];
    all_refused(&app, &pair.access, Kind::Access, headers).await;
    let utf_16: Vec<u8> = good.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let latin_1 = good
        .replace("at+jwt", "at+jwt?")
        .bytes()
        .map(|byte| if byte == b'?' { 0xE9 } else { byte })
        .collect();
    for (what, header) in [
        ("UTF-16", utf_16),
        ("Latin 1", latin_1),
        ("gzip", b"\x1f\x8b\x08\0".to_vec()),
    ] {
        let input = format!("{}.{}", encode(&header), segments(&pair.access)[1]);
        let token = format!(
            "{input}.{}",
            encode(&forge.key(Kind::Access).sign(input.as_bytes()).unwrap())
        );
        refused(&app, what, &token).await;
    }
    still_good(&app, &pair).await;
}
