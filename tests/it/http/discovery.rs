//! The discovery documents (RFC 8414).

use reqwest::Method;

use crate::support::{Backend, TestApp};

const PATHS: [&str; 2] = [
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
];

on_both_backends! {
    async fn the_documents_name_the_endpoints_under_the_issuer(backend: Backend) {
        let app = TestApp::start_with(backend, &["--issuer=https://login.example.com/", "--algorithm=EdDSA"]).await;
        for path in PATHS {
            let answer = app.get(path).await;
            assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
            assert_eq!(answer.header("cache-control"), "public, max-age=300");
            let document = answer.json();
            for (name, value) in [
                ("issuer", "https://login.example.com/"),
                ("jwks_uri", "https://login.example.com/.well-known/jwks.json"),
                ("token_obtain_endpoint", "https://login.example.com/api/token/"),
                ("token_refresh_endpoint", "https://login.example.com/api/token/refresh/"),
                ("token_verify_endpoint", "https://login.example.com/api/token/verify/"),
                ("token_blacklist_endpoint", "https://login.example.com/api/token/blacklist/"),
                ("user_endpoint", "https://login.example.com/api/auth/user/"),
                ("sessions_endpoint", "https://login.example.com/api/auth/sessions/"),
                ("logout_endpoint", "https://login.example.com/api/auth/logout/"),
                ("logout_all_endpoint", "https://login.example.com/api/auth/logout/all/"),
            ] {
                assert_eq!(document[name], value, "{name}");
            }
            assert_eq!(document["access_token_signing_alg_values_supported"][0], "EdDSA");
        }
    }

    /// Whoever can send a `Host` could otherwise have the keys looked up at a place of his own.
    async fn no_header_of_a_request_gets_into_a_document(backend: Backend) {
        let app = TestApp::start(backend).await;
        for path in PATHS {
            let request = app.request(Method::GET, path).header("host", "evil.test").header("forwarded", "host=evil.test");
            let request = request.header("x-forwarded-host", "evil.test").header("x-forwarded-proto", "gopher");
            assert_eq!(app.send(request).await.text, app.get(path).await.text);
        }
    }

    async fn an_issuer_that_is_no_url_has_no_documents(backend: Backend) {
        let app = TestApp::start_with(backend, &["--issuer=latchkey"]).await;
        for path in PATHS {
            app.get(path).await.expect(404, r#"{"detail":"Not found."}"#);
        }
    }
}
