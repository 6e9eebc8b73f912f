//! `POST /api/auth/logout/`, compatible with dj-rest-auth.

use reqwest::Method;
use serde_json::json;

use super::tools::refused_here;
use latchkey_testkit::{Answer, Backend, PASSWORD, TestApp, on_both_backends};

const PATH: &str = "/api/auth/logout/";
const DONE: &str = r#"{"detail":"Successfully logged out."}"#;
const MISSING: &str = r#"{"detail":"Refresh token was not included in request data."}"#;
const BAD_HEADER: &str = r#"{"detail":"Authorization header must contain two space-delimited values","code":"bad_authorization_header"}"#;

/// Fails unless this is a 401 without a code and without a challenge.
#[track_caller]
fn refused(answer: &Answer, text: &str) {
    answer.expect(401, &format!(r#"{{"detail":"{text}"}}"#));
    assert_eq!(
        (
            answer.header("www-authenticate"),
            answer.header("content-type")
        ),
        ("", "application/json")
    );
    assert_eq!(
        (answer.header("allow"), answer.header("cache-control")),
        ("GET, POST, HEAD, OPTIONS", "no-store")
    );
}

async fn with_body(app: &TestApp, content_type: &str, body: String) -> Answer {
    app.send(
        app.request(Method::POST, PATH)
            .header("content-type", content_type)
            .body(body),
    )
    .await
}

on_both_backends! {
    async fn log_out_revokes_the_session_and_its_access_tokens(backend: Backend) {
        let app = TestApp::start(backend).await;
        let twin = app.twin().await;
        let first = app.signed_in("ada").await;
        let (next, elsewhere) = (app.refresh(&first.refresh).await.pair(), app.obtain("ada", PASSWORD).await.pair());
        let answer = app.log_out(&next.refresh).await;
        answer.expect(200, DONE);
        assert_eq!((answer.header("allow"), answer.header("cache-control")), ("GET, POST, HEAD, OPTIONS", "no-store"));
        for server in [&twin, &app] {
            server.dead(&first).await;
            server.dead(&next).await;
            server.live(&elsewhere).await;
        }
        refused(&app.log_out(&next.refresh).await, "Token is blacklisted");
    }

    async fn token_is_read_from_json_and_forms(backend: Backend) {
        let app = TestApp::start(backend).await;
        app.user("ada").await;
        for kind in ["json", "form", "multipart"] {
            let pair = app.obtain("ada", PASSWORD).await.pair();
            let (content_type, body) = match kind {
                "json" => ("application/json; charset=utf-8", json!({ "refresh": pair.refresh }).to_string()),
                "form" => ("application/x-www-form-urlencoded", format!("refresh={}", pair.refresh)),
                _ => (
                    "multipart/form-data; boundary=x",
                    format!("--x\r\nContent-Disposition: form-data; name=\"refresh\"\r\n\r\n{}\r\n--x--\r\n", pair.refresh),
                ),
            };
            with_body(&app, content_type, body).await.expect(200, DONE);
            app.dead(&pair).await;
        }
        let pair = app.obtain("ada", PASSWORD).await.pair();
        let bare = app.post("/api/auth/logout", &json!({ "refresh": pair.refresh }).to_string()).await;
        bare.expect(200, DONE);
        app.dead(&pair).await;
    }

    async fn missing_or_invalid_token_is_refused_without_a_code(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        for (content_type, body) in [
            ("application/json", "{}"), ("application/json", ""), ("text/plain", ""),
            ("application/json", r#"{"token":"x"}"#), ("application/x-www-form-urlencoded", "x=y"),
        ] {
            let answer = with_body(&app, content_type, body.to_owned()).await;
            answer.expect(401, MISSING);
            assert_eq!(answer.header("www-authenticate"), "");
        }
        for value in [json!(""), json!(" "), json!("junk"), json!(true), json!([pair.refresh]), json!({}), json!(5), json!("a\0b"), json!("x".repeat(9000))] {
            refused(&app.post(PATH, &json!({ "refresh": value }).to_string()).await, "Token is invalid");
        }
        refused(&app.post(PATH, r#"{"refresh":"\ud800"}"#).await, "Token is invalid");
        refused(&app.log_out(&pair.access).await, "Token has wrong type");
        app.live(&pair).await;
        app.advance(86_400);
        refused(&app.log_out(&pair.refresh).await, "Token is expired");
    }

    async fn malformed_body_is_refused(backend: Backend) {
        let app = TestApp::start(backend).await;
        for (body, expected) in [
            ("[]", r#"{"non_field_errors":["Invalid data. Expected a dictionary, but got list."]}"#),
            ("null", r#"{"non_field_errors":["No data provided"]}"#),
            ("{", r#"{"detail":"JSON parse error - the text ends too early: line 1 column 1"}"#),
        ] {
            app.post(PATH, body).await.expect(400, expected);
        }
        let expected = r#"{"detail":"Unsupported media type \"text/plain\" in request."}"#;
        with_body(&app, "text/plain", "refresh=x".to_owned()).await.expect(415, expected);
    }

    /// dj-rest-auth returns 200 and revokes no session. Latchkey revokes the session of the access
    /// token.
    async fn null_revokes_the_session_of_the_access_token(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (here, there) = (app.signed_in("ada").await, app.obtain("ada", PASSWORD).await.pair());
        app.post(PATH, r#"{"refresh":null}"#).await.expect(200, DONE);
        app.live(&here).await;
        let request = app.request(Method::POST, PATH).header("authorization", format!("Bearer {}", here.access));
        app.send(request.header("content-type", "application/json").body(r#"{"refresh":null}"#)).await.expect(200, DONE);
        app.dead(&here).await;
        app.live(&there).await;
    }

    /// The access token has often expired at log-out.
    async fn authorization_beside_a_refresh_token_is_ignored(backend: Backend) {
        let app = TestApp::start(backend).await;
        app.user("ada").await;
        let (stale, revoked) = (app.obtain("ada", PASSWORD).await.pair(), app.obtain("ada", PASSWORD).await.pair());
        app.log_out(&revoked.refresh).await.expect(200, DONE);
        app.advance(3600);
        let good = app.obtain("ada", PASSWORD).await.pair();
        for header in [
            format!("Bearer {}", stale.access),
            format!("Bearer {}", revoked.access),
            format!("Bearer {}", good.refresh),
            format!("Bearer {}", good.access),
            "Bearer junk".to_owned(),
            "Bearer".to_owned(),
            "Bearer a b".to_owned(),
            "Basic eDp5".to_owned(),
            "Token 5".to_owned(),
            String::new(),
        ] {
            for path in [PATH, "/api/token/blacklist/"] {
                let pair = app.obtain("ada", PASSWORD).await.pair();
                let request = app.request(Method::POST, path).header("authorization", &header);
                let request = request.header("cookie", "app-auth=junk; app-refresh=junk; sessionid=x");
                let refresh = json!({ "refresh": pair.refresh }).to_string();
                let answer = app.send(request.header("content-type", "application/json").body(refresh)).await;
                assert_eq!(answer.status, 200, "{path} {header:.30}: {answer:?}");
                app.dead(&pair).await;
            }
            // The refresh token also determines a refusal.
            let request = app.request(Method::POST, PATH).header("authorization", &header);
            let body = json!({ "refresh": revoked.refresh }).to_string();
            refused(&app.send(request.header("content-type", "application/json").body(body)).await, "Token is blacklisted");
        }
        app.live(&good).await;
        app.refresh(&stale.refresh).await.pair();
    }

    /// Without a refresh token, `Authorization` identifies the session.
    async fn invalid_authorization_without_refresh_token_is_refused(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (pair, revoked) = (app.signed_in("ada").await, app.obtain("ada", PASSWORD).await.pair());
        app.log_out(&revoked.refresh).await.expect(200, DONE);
        for (header, expected) in [
            ("Bearer junk".to_owned(), refused_here("Token is invalid")),
            (format!("Bearer {}", pair.refresh), refused_here("Token has wrong type")),
            (format!("Bearer {}", revoked.access), refused_here("Token is blacklisted")),
            ("Bearer".to_owned(), BAD_HEADER.to_owned()),
            ("Bearer a b".to_owned(), BAD_HEADER.to_owned()),
        ] {
            for (method, body) in [(Method::POST, r#"{"refresh":null}"#), (Method::POST, "{}"), (Method::POST, ""), (Method::GET, "")] {
                let request = app.request(method, PATH).header("authorization", &header);
                let answer = app.send(request.header("content-type", "application/json").body(body)).await;
                answer.expect(401, &expected);
                assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"api\"", "{header:.30}");
            }
        }
        app.live(&pair).await;
    }

    async fn refresh_token_takes_precedence_over_access_token(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        // Another scheme is ignored. The refresh token takes precedence over a valid access token.
        let other = app.obtain("ada", PASSWORD).await.pair();
        for (header, victim) in [("Basic eDp5".to_owned(), &pair), (format!("Bearer {}", other.access), &app.obtain("ada", PASSWORD).await.pair())] {
            let request = app.request(Method::POST, PATH).header("authorization", header);
            let refresh = json!({ "refresh": victim.refresh }).to_string();
            app.send(request.header("content-type", "application/json").body(refresh)).await.expect(200, DONE);
            app.dead(victim).await;
        }
        app.live(&other).await;
    }

    async fn other_methods_are_not_allowed(backend: Backend) {
        let app = TestApp::start(backend).await;
        for method in ["GET", "PUT", "PATCH", "DELETE", "BREW"] {
            let answer = app.send(app.request(method.parse().unwrap(), PATH)).await;
            answer.expect(405, &format!(r#"{{"detail":"Method \"{method}\" not allowed."}}"#));
            assert_eq!((answer.header("allow"), answer.header("www-authenticate")), ("GET, POST, HEAD, OPTIONS", ""));
        }
        app.send(app.request(Method::HEAD, PATH)).await.expect(405, "");
        assert_eq!(app.send(app.request(Method::OPTIONS, PATH)).await.expect(204, "").header("allow"), "GET, POST, HEAD, OPTIONS");
    }

    async fn stale_tab_can_log_out(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        let next = app.refresh(&first.refresh).await.pair();
        app.advance(5);
        app.log_out(&first.refresh).await.expect(200, DONE);
        app.dead(&next).await;
    }

    async fn spent_token_after_grace_revokes_the_session(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        let next = app.refresh(&first.refresh).await.pair();
        app.advance(11);
        refused(&app.log_out(&first.refresh).await, "Token is blacklisted");
        app.dead(&next).await;
        assert_eq!(app.events().await.iter().filter(|event| event.event == "reuse").count(), 1);
    }
}
