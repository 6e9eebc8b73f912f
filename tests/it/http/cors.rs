//! The key set and discovery documents are readable from any origin, so that pages can verify
//! tokens. No other endpoint is.

use reqwest::Method;

use latchkey_testkit::{Answer, Backend, TestApp};

const KEYS: &str = "/.well-known/jwks.json";
const PATHS: [&str; 3] = [
    KEYS,
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
];
const ORIGIN: &str = "access-control-allow-origin";

async fn ask(app: &TestApp, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = app
        .request(method, path)
        .header("origin", "https://shop.example");
    app.send(headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    }))
    .await
}

/// Fails unless the header has exactly one value. Browsers refuse a list.
#[track_caller]
fn assert_open(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(
        answer.headers.get_all(ORIGIN).iter().collect::<Vec<_>>(),
        ["*"],
        "{answer:?}"
    );
    assert!(
        !answer
            .headers
            .contains_key("access-control-allow-credentials"),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_set_and_discovery_are_readable_from_any_origin() {
    let app = TestApp::start(Backend::Embedded).await;
    for path in PATHS {
        for path in [path.to_owned(), format!("{path}/")] {
            assert_open(&ask(&app, Method::GET, &path, &[]).await, 200);
            assert_open(&app.get(&path).await, 200);
            assert_open(&ask(&app, Method::HEAD, &path, &[]).await, 200);
            assert_open(&ask(&app, Method::POST, &path, &[]).await, 405);
            assert_open(
                &ask(
                    &app,
                    Method::GET,
                    &format!("{path}?{}", "a".repeat(3000)),
                    &[],
                )
                .await,
                414,
            );
        }
    }
    let keys = app.get(KEYS).await;
    assert_eq!(
        keys.header("access-control-expose-headers"),
        "ETag, X-Request-ID"
    );
    assert_open(
        &ask(
            &app,
            Method::GET,
            KEYS,
            &[("if-none-match", keys.header("etag"))],
        )
        .await,
        304,
    );
    assert_open(
        &ask(
            &app,
            Method::HEAD,
            KEYS,
            &[("if-none-match", keys.header("etag"))],
        )
        .await,
        304,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absent_discovery_document_is_a_readable_404() {
    let app = TestApp::start_with(Backend::Embedded, &["--issuer=latchkey"]).await;
    for path in PATHS.into_iter().skip(1) {
        assert_open(&ask(&app, Method::GET, path, &[]).await, 404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preflight_allows_conditional_requests() {
    let app = TestApp::start(Backend::Embedded).await;
    for path in PATHS {
        for header in ["if-none-match", "authorization", "x-anything"] {
            let headers = [
                ("access-control-request-method", "GET"),
                ("access-control-request-headers", header),
            ];
            let answer = ask(&app, Method::OPTIONS, path, &headers).await;
            assert_open(&answer, 204);
            let allowed = answer
                .header("access-control-allow-headers")
                .to_ascii_lowercase();
            let mut allowed = allowed.split(", ");
            assert!(
                allowed.clone().any(|name| name == header) || allowed.any(|name| name == "*"),
                "{answer:?}"
            );
            assert_eq!(
                answer.header("access-control-allow-methods"),
                "GET, HEAD, OPTIONS"
            );
            assert_eq!(
                (
                    answer.header("access-control-max-age"),
                    answer.header("allow")
                ),
                ("86400", "GET, HEAD, OPTIONS")
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_endpoints_are_not_readable_from_other_origins() {
    let app = TestApp::start(Backend::Embedded).await;
    for path in [
        "/api/token/",
        "/api/auth/user/",
        "/health/ready",
        "/openapi.json",
        "/docs/",
        "/nowhere",
        "/.well-known/x",
    ] {
        for method in [Method::GET, Method::POST, Method::OPTIONS] {
            let answer = ask(
                &app,
                method,
                path,
                &[("access-control-request-method", "POST")],
            )
            .await;
            assert!(
                !answer
                    .headers
                    .keys()
                    .any(|name| name.as_str().starts_with("access-control-")),
                "{path}: {answer:?}"
            );
        }
    }
}
