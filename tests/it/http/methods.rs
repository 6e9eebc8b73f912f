//! Methods, paths and the header `Allow`.

use reqwest::Method;

use super::tools::{ENDPOINTS, all_wrong};
use latchkey_testkit::{Backend, TestApp};

const READ_ONLY: [&str; 5] = [
    "/.well-known/jwks.json",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
    "/health/live",
    "/health/ready",
];

#[tokio::test]
async fn token_endpoint_allows_only_post() {
    let app = TestApp::start(Backend::Embedded).await;
    for (path, _) in ENDPOINTS {
        for method in ["GET", "PUT", "PATCH", "DELETE", "TRACE", "BREW"] {
            let answer = app.send(app.request(method.parse().unwrap(), path)).await;
            answer.expect(
                405,
                &format!(r#"{{"detail":"Method \"{method}\" not allowed."}}"#),
            );
            assert_eq!(
                (answer.header("allow"), answer.header("www-authenticate")),
                ("POST, OPTIONS", "")
            );
            assert_eq!(answer.header("content-type"), "application/json");
        }
        let head = app.send(app.request(Method::HEAD, path)).await;
        assert_eq!(head.expect(405, "").header("allow"), "POST, OPTIONS");
    }
}

#[tokio::test]
async fn read_only_resource_allows_only_get_and_head() {
    let app = TestApp::start(Backend::Embedded).await;
    for path in READ_ONLY {
        for method in ["POST", "PUT", "DELETE", "BREW"] {
            let answer = app.send(app.request(method.parse().unwrap(), path)).await;
            answer.expect(
                405,
                &format!(r#"{{"detail":"Method \"{method}\" not allowed."}}"#),
            );
            assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
        }
        let (get, head) = (
            app.get(path).await,
            app.send(app.request(Method::HEAD, path)).await,
        );
        assert_eq!(get.header("allow"), "GET, HEAD, OPTIONS");
        assert_eq!((head.status, head.text.as_str()), (get.status, ""));
        assert_eq!(
            head.header("content-length"),
            get.text.len().to_string(),
            "{path}"
        );
    }
}

#[tokio::test]
async fn options_lists_the_allowed_methods() {
    let app = TestApp::start(Backend::Embedded).await;
    let posts = ENDPOINTS.iter().map(|(path, _)| (*path, "POST, OPTIONS"));
    let reads = READ_ONLY
        .iter()
        .chain(&["/api/auth/user/"])
        .map(|path| (*path, "GET, HEAD, OPTIONS"));
    for (path, allowed) in posts.chain(reads) {
        let answer = app.send(app.request(Method::OPTIONS, path)).await;
        assert_eq!(answer.expect(204, "").header("allow"), allowed, "{path}");
    }
}

#[tokio::test]
async fn token_endpoint_responses_have_allow_and_json() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    for answer in [
        app.obtain("ada", latchkey_testkit::PASSWORD).await,
        app.obtain("ada", "wrong").await,
        app.refresh(&pair.refresh).await,
        app.refresh("junk").await,
        app.verify(&pair.access).await,
        app.verify("junk").await,
        app.blacklist("junk").await,
        app.blacklist(&pair.refresh).await,
        app.post("/api/token/", "{}").await,
        app.post("/api/token/", &" ".repeat(20_000)).await,
    ] {
        assert_eq!(answer.header("allow"), "POST, OPTIONS", "{answer:?}");
        assert_eq!(
            answer.header("content-type"),
            "application/json",
            "{answer:?}"
        );
    }
}

/// Django redirects instead.
#[tokio::test]
async fn final_slash_is_optional() {
    let app = TestApp::start(Backend::Embedded).await;
    for (path, fields) in ENDPOINTS {
        let bare = path.trim_end_matches('/');
        let answer = app.post(bare, "{}").await;
        answer.expect(400, &all_wrong(fields, "This field is required."));
        assert_eq!(answer.header("allow"), "POST, OPTIONS");
    }
    for path in READ_ONLY {
        assert_eq!(
            app.get(&format!("{path}/")).await.status,
            app.get(path).await.status,
            "{path}"
        );
    }
    assert_eq!(
        app.get("/api/auth/user").await.text,
        app.get("/api/auth/user/").await.text
    );
}

#[tokio::test]
async fn unknown_path_is_a_404_in_json() {
    let app = TestApp::start(Backend::Embedded).await;
    for path in [
        "/",
        "/api",
        "/api/",
        "/api/token/x/",
        "//api/token/",
        "/api//token/",
        "/api/token//",
        "/API/token/",
        "/api/token/refresh/..",
        "/api/%74oken%2f",
        "/%",
        "/%ff",
        "/.well-known/",
        "/admin/",
    ] {
        let answer = app.raw(format!("POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{{}}").as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
        assert_eq!(body, r#"{"detail":"Not found."}"#, "{path}");
        assert!(head.contains("content-type: application/json"), "{answer}");
    }
}

#[tokio::test]
async fn token_endpoints_ignore_authorization() {
    let app = TestApp::start(Backend::Embedded).await;
    for (path, fields) in ENDPOINTS {
        for junk in ["Bearer junk", "Bearer", "Basic eDp5", "x"] {
            let request = app
                .request(Method::POST, path)
                .header("authorization", junk);
            let answer = app
                .send(
                    request
                        .header("content-type", "application/json")
                        .body("{}"),
                )
                .await;
            answer.expect(400, &all_wrong(fields, "This field is required."));
        }
    }
}

/// The header `Accept` is ignored.
#[tokio::test]
async fn response_is_json_for_any_accept_header() {
    let app = TestApp::start(Backend::Embedded).await;
    for accept in [
        "application/xml",
        "text/html",
        "*/*",
        "application/json; indent=2",
    ] {
        let request = app
            .request(Method::POST, "/api/token/verify/?format=xml")
            .header("accept", accept);
        let answer = app
            .send(
                request
                    .header("content-type", "application/json")
                    .body("{}"),
            )
            .await;
        answer.expect(400, r#"{"token":["This field is required."]}"#);
        assert_eq!(answer.header("vary"), "");
    }
}
