//! Contents of issued tokens.

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::segments;
use latchkey_testkit::{Backend, Forge, Pair, TestApp};

fn header_of(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(segments(token)[0]).unwrap()).unwrap()
}

fn names(object: &Value) -> Vec<&str> {
    object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

fn check(pair: &Pair, kids: [&str; 2]) {
    let (access, refresh) = (
        Forge::claims_of(&pair.access),
        Forge::claims_of(&pair.refresh),
    );
    assert_eq!(
        names(&access),
        [
            "token_type",
            "exp",
            "iat",
            "jti",
            "user_id",
            "iss",
            "sub",
            "sid",
            "ver"
        ]
    );
    assert_eq!(
        names(&refresh),
        [
            "token_type",
            "exp",
            "iat",
            "jti",
            "user_id",
            "iss",
            "sub",
            "aud",
            "sid",
            "gen",
            "ver"
        ]
    );
    assert_eq!(
        header_of(&pair.access),
        json!({ "alg": "ES256", "typ": "at+jwt", "kid": kids[0] })
    );
    assert_eq!(
        header_of(&pair.refresh),
        json!({ "alg": "HS256", "typ": "rt+jwt", "kid": kids[1] })
    );
    let lifetime = access["exp"].as_i64().unwrap() - access["iat"].as_i64().unwrap();
    assert!(
        lifetime <= 15 * 60,
        "default lifetime of an access token: {lifetime} s"
    );
    assert_eq!(
        (&access["sid"], &access["sub"]),
        (&refresh["sid"], &refresh["sub"])
    );
    assert_eq!(
        (&access["user_id"], &refresh["aud"]),
        (&access["sub"], &access["iss"])
    );
}

#[tokio::test]
async fn tokens_contain_no_personal_data() {
    let app = TestApp::start(Backend::Embedded).await;
    let first = app.signed_in("ada.lovelace").await;
    let forge = app.forge();
    let kids = [
        latchkey_verifier::Kind::Access,
        latchkey_verifier::Kind::Refresh,
    ]
    .map(|kind| forge.key(kind).kid());
    check(&first, kids);
    app.advance(30);
    let second = app.refresh(&first.refresh).await.pair();
    check(&second, kids);
    for token in [
        &first.access,
        &first.refresh,
        &second.access,
        &second.refresh,
    ] {
        let text = Forge::claims_of(token).to_string();
        assert!(
            !["lovelace", "argon2", "staff", "@", "127.0.0.1"]
                .iter()
                .any(|secret| text.contains(secret)),
            "{text}"
        );
    }
}

#[tokio::test]
async fn token_and_session_ids_are_random_and_unique() {
    let app = TestApp::start(Backend::Embedded).await;
    app.user("ada").await;
    let mut seen = HashSet::new();
    for _ in 0..10 {
        let pair = app.obtain("ada", latchkey_testkit::PASSWORD).await.pair();
        for (token, version) in [(&pair.access, '4'), (&pair.refresh, '5')] {
            let claims = Forge::claims_of(token);
            let jti = claims["jti"].as_str().unwrap();
            let hex = jti
                .chars()
                .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
            assert!(
                jti.len() == 32 && hex && jti.chars().nth(12) == Some(version),
                "{jti}"
            );
            assert!(seen.insert(jti.to_owned()), "{jti} twice");
        }
        assert!(
            seen.insert(
                Forge::claims_of(&pair.access)["sid"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            )
        );
    }
    let subject = Forge::claims_of(
        &app.obtain("ada", latchkey_testkit::PASSWORD)
            .await
            .pair()
            .access,
    )["sub"]
        .clone();
    assert_eq!(
        subject.as_str().map(str::len),
        Some(36),
        "the user id may reveal the number of users: {subject}"
    );
}
