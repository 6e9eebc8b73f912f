//! `GET /api/auth/user/`, the protected view.

use latchkey_domain::ports::{Clock as _, UserStore as _};
use latchkey_verifier::Kind;
use reqwest::Method;
use serde_json::json;

use super::tools::{VERIFY_BLACKLISTED, deactivate, execute, refused_here};
use crate::contract::store::at;
use latchkey_testkit::{Backend, Forge, TestApp, on_both_backends, username};

const NOT_PROVIDED: &str = r#"{"detail":"Authentication credentials were not provided."}"#;
const BAD_HEADER: &str = r#"{"detail":"Authorization header must contain two space-delimited values","code":"bad_authorization_header"}"#;

on_both_backends! {
    async fn user_has_the_format_of_dj_rest_auth(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        execute(&app, "UPDATE users SET email = 'ada@example.com', first_name = 'Ada', last_name = 'Löve' WHERE username = 'ada'").await;
        let id = Forge::claims_of(&pair.access)["user_id"].as_str().unwrap().to_owned();
        let answer = app.me(&format!("Bearer {}", pair.access)).await;
        answer.expect(200, &format!(r#"{{"pk":"{id}","username":"ada","email":"ada@example.com","first_name":"Ada","last_name":"Löve"}}"#));
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
        assert_eq!(answer.header("www-authenticate"), "");
    }

    async fn token_of_a_revoked_session_is_blacklisted(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (left, out) = (app.signed_in("left").await, app.signed_in("out").await);
        app.blacklist(&left.refresh).await.expect(200, "{}");
        app.accounts().await.sign_out(&username("out")).await.unwrap();
        for pair in [left, out] {
            app.me(&format!("Bearer {}", pair.access)).await.expect(401, &refused_here("Token is blacklisted"));
        }
    }

    async fn inactive_and_deleted_users_are_reported(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (idle, deleted) = (app.signed_in("idle").await, app.signed_in("deleted").await);
        deactivate(&app, "idle").await;
        app.accounts().await.delete(&username("deleted")).await.unwrap();
        let inactive = r#"{"detail":"User is inactive","code":"user_inactive"}"#;
        app.me(&format!("Bearer {}", idle.access)).await.expect(401, inactive);
        let not_found = r#"{"detail":"User not found","code":"user_not_found"}"#;
        app.me(&format!("Bearer {}", deleted.access)).await.expect(401, not_found);
    }

    async fn token_without_a_user_is_refused(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (pair, forge) = (app.signed_in("ada").await, app.forge());
        let no_user = forge.altered(&pair.access, Kind::Access, &json!({ "user_id": null }));
        let expected = r#"{"detail":"Token contained no recognizable user identification","code":"token_not_valid"}"#;
        app.me(&format!("Bearer {no_user}")).await.expect(401, expected);
        let odd = forge.altered(&pair.access, Kind::Access, &json!({ "user_id": 5 }));
        app.me(&format!("Bearer {odd}")).await.expect(401, &refused_here("Token is invalid"));
    }

    /// The process that deleted the user failed before it wrote to Redis.
    async fn refusal_of_a_deleted_user_reaches_the_blacklist(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("deleted").await;
        app.verify(&pair.access).await.expect(200, "{}");
        let sql = app.sql();
        let user = sql.find_by_username(&username("deleted")).await.unwrap().unwrap();
        sql.delete(&at(&user.id, app.clock.now())).await.unwrap();
        let answer = app.me(&format!("Bearer {}", pair.access)).await;
        answer.expect(401, r#"{"detail":"User not found","code":"user_not_found"}"#);
        app.verify(&pair.access).await.expect(400, VERIFY_BLACKLISTED);
    }
}

#[tokio::test]
async fn authorization_is_a_scheme_and_one_value() {
    let app = TestApp::start(Backend::Embedded).await;
    let access = app.signed_in("ada").await.access;
    for header in [
        format!("Bearer {access}"),
        format!("bearer {access}"),
        format!("BEARER {access}"),
        format!("Bearer    {access}  "),
    ] {
        assert_eq!(app.me(&header).await.status, 200, "{header}");
    }
    app.get("/api/auth/user/").await.expect(401, NOT_PROVIDED);
    for (header, body) in [
        ("", NOT_PROVIDED),
        ("Basic eDp5", NOT_PROVIDED),
        (&format!("JWT {access}"), NOT_PROVIDED),
        (&format!("Bearer,{access}"), NOT_PROVIDED),
        (&access, NOT_PROVIDED),
        ("Bearer", BAD_HEADER),
        ("bearer ", BAD_HEADER),
        ("Bearer a b", BAD_HEADER),
        (&format!("Bearer {access} {access}"), BAD_HEADER),
        ("Bearer junk", &refused_here("Token is invalid")),
    ] {
        let answer = app.me(header).await;
        assert_eq!(
            (answer.status, answer.text.as_str()),
            (401, body),
            "{header}"
        );
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"api\"");
        assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
    }
}

#[tokio::test]
async fn authorization_that_is_not_text_is_invalid() {
    let app = TestApp::start(Backend::Embedded).await;
    let junk = reqwest::header::HeaderValue::from_bytes(b"Bearer \xff\xfe").unwrap();
    let answer = app
        .send(
            app.request(Method::GET, "/api/auth/user/")
                .header("authorization", junk),
        )
        .await;
    answer.expect(401, &refused_here("Token is invalid"));
}

#[tokio::test]
async fn expired_or_wrong_type_is_reported() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    app.me(&format!("Bearer {}", pair.refresh))
        .await
        .expect(401, &refused_here("Token has wrong type"));
    app.advance(300);
    app.me(&format!("Bearer {}", pair.access))
        .await
        .expect(401, &refused_here("Token is expired"));
}

/// Authentication is checked before the method.
#[tokio::test]
async fn wrong_method_is_reported_to_authenticated_clients() {
    let app = TestApp::start(Backend::Embedded).await;
    let access = app.signed_in("ada").await.access;
    for method in [Method::POST, Method::DELETE, Method::PATCH] {
        app.send(app.request(method.clone(), "/api/auth/user/"))
            .await
            .expect(401, NOT_PROVIDED);
        let known = app
            .request(method.clone(), "/api/auth/user/")
            .header("authorization", format!("Bearer {access}"));
        let answer = app.send(known).await;
        answer.expect(
            405,
            &format!(r#"{{"detail":"Method \"{method}\" not allowed."}}"#),
        );
        assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
    }
    app.send(app.request(Method::HEAD, "/api/auth/user/"))
        .await
        .expect(401, "");
    let head = app
        .request(Method::HEAD, "/api/auth/user/")
        .header("authorization", format!("Bearer {access}"));
    app.send(head).await.expect(200, "");
}

#[tokio::test]
async fn all_schemes_are_accepted_and_the_first_is_named() {
    let app = TestApp::start_with(Backend::Embedded, &["--auth-header-types=JWT,Bearer"]).await;
    let access = app.signed_in("ada").await.access;
    for scheme in ["JWT", "jwt", "Bearer", "bearer"] {
        assert_eq!(
            app.me(&format!("{scheme} {access}")).await.status,
            200,
            "{scheme}"
        );
    }
    let refusal = app.me(&format!("Token {access}")).await;
    refusal.expect(401, NOT_PROVIDED);
    for answer in [
        refusal,
        app.obtain("ada", "wrong").await,
        app.verify("junk").await,
    ] {
        assert_eq!(answer.header("www-authenticate"), "JWT realm=\"api\"");
    }
}
