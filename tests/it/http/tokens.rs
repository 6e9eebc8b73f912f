//! Exact contents of tokens.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use regex::Regex;

use latchkey_testkit::{Backend, Forge, PASSWORD, TestApp, on_both_backends};

/// Returns a decoded segment of a token.
fn segment(token: &str, index: usize) -> String {
    String::from_utf8(
        URL_SAFE_NO_PAD
            .decode(token.split('.').nth(index).unwrap())
            .unwrap(),
    )
    .unwrap()
}

fn assert_matches(text: &str, pattern: &str) {
    assert!(
        Regex::new(&format!("^{pattern}$")).unwrap().is_match(text),
        "{text}"
    );
}

const UUID: &str = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";

on_both_backends! {
    async fn claims_start_with_those_of_simplejwt(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (pair, now) = (app.signed_in("ada").await, app.now());
        let common = |kind: &str, exp: i64| {
            format!(
                r#"\{{"token_type":"{kind}","exp":{exp},"iat":{now},"jti":"[0-9a-f]{{32}}","user_id":"{UUID}","iss":"https://auth\.test","sub":"{UUID}""#
            )
        };
        assert_matches(&segment(&pair.access, 1), &format!(r#"{},"sid":"{UUID}","ver":0\}}"#, common("access", now + 300)));
        let rest = format!(r#","aud":"https://auth\.test","sid":"{UUID}","gen":0,"ver":0\}}"#);
        assert_matches(&segment(&pair.refresh, 1), &format!("{}{rest}", common("refresh", now + 86_400)));
    }

    async fn rotation_changes_only_jti_times_and_generation(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        app.advance(60);
        let second = app.refresh(&first.refresh).await.pair();
        let (old, new) = (Forge::claims_of(&first.refresh), Forge::claims_of(&second.refresh));
        for (name, value) in old.as_object().unwrap() {
            assert_eq!(new[name] == *value, !["jti", "exp", "iat", "gen"].contains(&name.as_str()), "{name}");
        }
        assert_eq!(new["exp"].as_i64().unwrap() - old["exp"].as_i64().unwrap(), 60);
        assert_ne!(Forge::claims_of(&first.access)["jti"], Forge::claims_of(&second.access)["jti"]);
        assert_eq!(Forge::claims_of(&second.access)["iat"], app.now());
    }
}

#[tokio::test]
async fn header_has_algorithm_type_and_key() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    assert_matches(
        &segment(&pair.access, 0),
        r#"\{"alg":"ES256","typ":"at\+jwt","kid":"[\w-]{43}"\}"#,
    );
    assert_matches(
        &segment(&pair.refresh, 0),
        r#"\{"alg":"HS256","typ":"rt\+jwt","kid":"[\w-]{43}"\}"#,
    );
}

#[tokio::test]
async fn pair_shares_time_user_and_session_but_not_jti() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let (access, refresh) = (
        Forge::claims_of(&pair.access),
        Forge::claims_of(&pair.refresh),
    );
    for name in ["iat", "user_id", "sub", "sid", "iss", "ver"] {
        assert_eq!(access[name], refresh[name], "{name}");
    }
    assert_eq!(access["user_id"], access["sub"]);
    assert_ne!(access["jti"], refresh["jti"]);
}

#[tokio::test]
async fn kid_in_the_header_is_published() {
    let app = TestApp::start(Backend::Embedded).await;
    app.user("ada").await;
    let pair = app.obtain("ada", PASSWORD).await.pair();
    let keys = app.get("/.well-known/jwks.json").await.json();
    let header: serde_json::Value = serde_json::from_str(&segment(&pair.access, 0)).unwrap();
    assert_eq!(keys["keys"][0]["kid"], header["kid"]);
    assert_eq!(keys["keys"][0]["alg"], header["alg"]);
    let secret: serde_json::Value = serde_json::from_str(&segment(&pair.refresh, 0)).unwrap();
    assert!(!keys.to_string().contains(secret["kid"].as_str().unwrap()));
}
