//! Headers of every response.

use regex::Regex;
use reqwest::Method;

use latchkey_testkit::{Answer, Backend, TestApp};

async fn with_id(app: &TestApp, id: &[u8]) -> Answer {
    let id = reqwest::header::HeaderValue::from_bytes(id).unwrap();
    app.send(
        app.request(Method::GET, "/health/live")
            .header("x-request-id", id),
    )
    .await
}

#[tokio::test]
async fn every_response_has_security_headers() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    for answer in [
        app.get("/nowhere").await,
        app.get("/.well-known/jwks.json").await,
        app.get("/health/ready").await,
        app.get("/api/token/").await,
        app.send(app.request(Method::OPTIONS, "/api/token/")).await,
        app.me(&format!("Bearer {}", pair.access)).await,
        app.refresh(&pair.refresh).await,
        app.verify("junk").await,
        app.post("/api/token/", &" ".repeat(20_000)).await,
    ] {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            (
                "content-security-policy",
                "default-src 'none'; frame-ancestors 'none'",
            ),
        ] {
            assert_eq!(answer.header(name), value, "{name}: {answer:?}");
        }
        assert_eq!(
            (answer.header("server"), answer.header("set-cookie")),
            ("", "")
        );
    }
}

#[tokio::test]
async fn responses_about_tokens_are_not_cached() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    for answer in [
        app.obtain("ada", latchkey_testkit::PASSWORD).await,
        app.obtain("ada", "wrong").await,
        app.me("Bearer junk").await,
        app.me(&format!("Bearer {}", pair.access)).await,
        app.verify(&pair.access).await,
        app.refresh("junk").await,
        app.refresh(&pair.refresh).await,
        app.blacklist(&pair.refresh).await,
        app.verify(&pair.access).await,
        app.post("/api/token/verify/", "{").await,
    ] {
        assert_eq!(answer.header("cache-control"), "no-store", "{answer:?}");
    }
}

#[tokio::test]
async fn valid_request_id_is_returned() {
    let app = TestApp::start(Backend::Embedded).await;
    for id in ["a", "Trace-1_2.3", &"x".repeat(64)] {
        assert_eq!(
            with_id(&app, id.as_bytes()).await.header("x-request-id"),
            id
        );
    }
    let refused = app
        .request(Method::POST, "/api/token/")
        .header("x-request-id", "mine");
    assert_eq!(app.send(refused).await.header("x-request-id"), "mine");
}

#[tokio::test]
async fn invalid_request_id_is_replaced() {
    let app = TestApp::start(Backend::Embedded).await;
    let created = Regex::new("^[0-9a-f]{32}$").unwrap();
    for id in [
        &b""[..],
        b"a b",
        b"a,b",
        b"<b>",
        b"\xff\xfe",
        "x".repeat(65).as_bytes(),
        "é".as_bytes(),
    ] {
        let answer = with_id(&app, id).await;
        assert!(
            created.is_match(answer.header("x-request-id")),
            "{answer:?}"
        );
    }
    let (first, second) = (app.get("/health/live").await, app.get("/health/live").await);
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
}
