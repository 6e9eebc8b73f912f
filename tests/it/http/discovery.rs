//! Discovery documents (RFC 8414).

use reqwest::Method;

use latchkey_testkit::{Backend, TestApp};

const PATHS: [&str; 2] = [
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
];

#[tokio::test]
async fn documents_name_the_endpoints_under_the_issuer() {
    let app = TestApp::start_with(
        Backend::Embedded,
        &["--issuer=https://login.example.com/", "--algorithm=EdDSA"],
    )
    .await;
    for path in PATHS {
        let answer = app.get(path).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "application/json")
        );
        assert_eq!(answer.header("cache-control"), "public, max-age=300");
        let document = answer.json();
        for (name, value) in [
            ("issuer", "https://login.example.com/"),
            (
                "jwks_uri",
                "https://login.example.com/.well-known/jwks.json",
            ),
            (
                "token_obtain_endpoint",
                "https://login.example.com/api/token/",
            ),
            (
                "token_refresh_endpoint",
                "https://login.example.com/api/token/refresh/",
            ),
            (
                "token_verify_endpoint",
                "https://login.example.com/api/token/verify/",
            ),
            (
                "token_blacklist_endpoint",
                "https://login.example.com/api/token/blacklist/",
            ),
            ("user_endpoint", "https://login.example.com/api/auth/user/"),
            (
                "sessions_endpoint",
                "https://login.example.com/api/auth/sessions/",
            ),
            (
                "logout_endpoint",
                "https://login.example.com/api/auth/logout/",
            ),
            (
                "logout_all_endpoint",
                "https://login.example.com/api/auth/logout/all/",
            ),
        ] {
            assert_eq!(document[name], value, "{name}");
        }
        assert_eq!(
            document["access_token_signing_alg_values_supported"][0],
            "EdDSA"
        );
    }
}

/// Otherwise a forged `Host` could direct verifiers to foreign keys.
#[tokio::test]
async fn request_headers_do_not_affect_the_documents() {
    let app = TestApp::start(Backend::Embedded).await;
    for path in PATHS {
        let request = app
            .request(Method::GET, path)
            .header("host", "evil.test")
            .header("forwarded", "host=evil.test");
        let request = request
            .header("x-forwarded-host", "evil.test")
            .header("x-forwarded-proto", "gopher");
        assert_eq!(app.send(request).await.text, app.get(path).await.text);
    }
}

#[tokio::test]
async fn issuer_that_is_not_a_url_has_no_documents() {
    let app = TestApp::start_with(Backend::Embedded, &["--issuer=latchkey"]).await;
    for path in PATHS {
        app.get(path)
            .await
            .expect(404, r#"{"detail":"Not found."}"#);
    }
}

/// RFC 8414, section 3.1, inserts the well-known part into the URL; OpenID Connect Discovery,
/// section 4, appends it.
#[tokio::test]
async fn issuer_with_a_path_has_documents_in_both_forms() {
    let app =
        TestApp::start_with(Backend::Embedded, &["--issuer=https://example.com/auth/eu"]).await;
    for path in PATHS {
        let document = app.get(path).await;
        assert_eq!(document.json()["issuer"], "https://example.com/auth/eu");
        assert_eq!(
            document.json()["jwks_uri"],
            "https://example.com/auth/eu/.well-known/jwks.json"
        );
        for alias in [
            format!("{path}/auth/eu"),
            format!("{path}/auth/eu/"),
            format!("/auth/eu{path}"),
        ] {
            let answer = app.get(&alias).await;
            assert_eq!(
                (answer.status, &answer.text),
                (200, &document.text),
                "{alias}"
            );
            assert_eq!(answer.header("access-control-allow-origin"), "*");
        }
        app.get(&format!("{path}/auth"))
            .await
            .expect(404, r#"{"detail":"Not found."}"#);
    }
}

/// RFC 8414, section 3.2.
#[tokio::test]
async fn documents_hold_no_empty_list() {
    let app = TestApp::start(Backend::Embedded).await;
    for path in PATHS {
        let document = app.get(path).await.json();
        for (name, value) in document.as_object().unwrap() {
            assert!(
                value.as_array().is_none_or(|list| !list.is_empty()),
                "{path}: {name}"
            );
        }
        assert_eq!(
            document["response_types_supported"],
            serde_json::json!(["none"])
        );
    }
}
