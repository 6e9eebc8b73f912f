//! `GET /.well-known/jwks.json`

use reqwest::Method;

use latchkey_testkit::{Answer, Backend, TestApp};

const PATH: &str = "/.well-known/jwks.json";

async fn if_none_match(app: &TestApp, tags: &str) -> Answer {
    app.send(app.request(Method::GET, PATH).header("if-none-match", tags))
        .await
}

#[tokio::test]
async fn key_set_contains_only_public_parts() {
    let members = [
        ("ES256", vec!["alg", "crv", "kid", "kty", "use", "x", "y"]),
        ("ES384", vec!["alg", "crv", "kid", "kty", "use", "x", "y"]),
        ("EdDSA", vec!["alg", "crv", "kid", "kty", "use", "x"]),
        ("RS256", vec!["alg", "e", "kid", "kty", "n", "use"]),
    ];
    for (algorithm, expected) in members {
        let app =
            TestApp::start_with(Backend::Embedded, &[&format!("--algorithm={algorithm}")]).await;
        let document = app.get(PATH).await.json();
        assert_eq!(document.as_object().unwrap().len(), 1);
        let keys = document["keys"].as_array().unwrap();
        assert_eq!(keys.len(), 1);
        let mut names: Vec<&str> = keys[0]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        assert_eq!(names, expected, "{algorithm}");
        assert_eq!(
            (keys[0]["use"].as_str(), keys[0]["alg"].as_str()),
            (Some("sig"), Some(algorithm))
        );
    }
}

#[tokio::test]
async fn hmac_secret_is_not_published() {
    let app = TestApp::start_with(Backend::Embedded, &["--algorithm=HS256"]).await;
    app.get(PATH).await.expect(200, r#"{"keys":[]}"#);
}

#[tokio::test]
async fn key_set_is_cacheable() {
    let app = TestApp::start(Backend::Embedded).await;
    let answer = app.get(PATH).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/json")
    );
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    let other = TestApp::start_with(Backend::Embedded, &["--jwks-max-age=2m"]).await;
    assert_eq!(
        other.get(PATH).await.header("cache-control"),
        "public, max-age=120"
    );
}

#[tokio::test]
async fn unchanged_key_set_is_a_304() {
    let app = TestApp::start(Backend::Embedded).await;
    let tag = app.get(PATH).await.header("etag").to_owned();
    assert!(
        tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'),
        "{tag}"
    );
    for tags in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"x\", {tag}"),
        "*".to_owned(),
    ] {
        let answer = if_none_match(&app, &tags).await;
        answer.expect(304, "");
        assert_eq!(answer.header("etag"), tag);
        assert_eq!(answer.header("cache-control"), "public, max-age=300");
    }
    for tags in ["\"x\"", "", tag.trim_matches('"')] {
        assert_eq!(if_none_match(&app, tags).await.status, 200, "{tags}");
    }
}
