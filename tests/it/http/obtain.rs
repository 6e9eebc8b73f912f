//! `POST /api/token/`

use super::tools::{BAD_CREDENTIALS, deactivate, execute};
use latchkey_testkit::{Answer, Backend, Forge, PASSWORD, TestApp, on_both_backends, username};

/// Returns the response without headers that always differ.
fn comparable(answer: &Answer) -> (u16, String, Vec<(String, String)>) {
    let headers = answer
        .headers
        .iter()
        .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()));
    let mut headers: Vec<_> = headers
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (answer.status, answer.text.clone(), headers)
}

on_both_backends! {
    async fn refresh_token_comes_first(backend: Backend) {
        let app = TestApp::start(backend).await;
        app.user("ada").await;
        let answer = app.obtain("ada", PASSWORD).await;
        let pair = answer.pair();
        answer.expect(200, &format!(r#"{{"refresh":"{}","access":"{}"}}"#, pair.refresh, pair.access));
        assert_eq!(answer.header("www-authenticate"), "");
        assert_eq!(answer.header("cache-control"), "no-store");
    }

    /// The response does not reveal existing names.
    async fn all_refusals_are_identical(backend: Backend) {
        let app = TestApp::start(backend).await;
        app.user("Ada").await;
        app.user("idle").await;
        deactivate(&app, "idle").await;
        let wrong = app.obtain("Ada", "wrong").await;
        wrong.expect(401, BAD_CREDENTIALS);
        assert_eq!(wrong.header("www-authenticate"), "Bearer realm=\"api\"");
        for (name, password) in [
            ("unknown", PASSWORD),
            ("idle", PASSWORD),
            ("idle", "wrong"),
            ("Ada", "Correct horse battery staple"),
            ("ada", PASSWORD),
            ("ADA", PASSWORD),
            ("not a name", PASSWORD),
            ("Ada'; --", PASSWORD),
        ] {
            assert_eq!(comparable(&app.obtain(name, password).await), comparable(&wrong), "{name}");
        }
        app.obtain("Ada", PASSWORD).await.pair();
    }

    async fn reactivated_user_can_sign_in(backend: Backend) {
        let app = TestApp::start(backend).await;
        app.user("ada").await;
        deactivate(&app, "ada").await;
        app.obtain("ada", PASSWORD).await.expect(401, BAD_CREDENTIALS);
        app.accounts().await.set_active(&username("ada"), true).await.unwrap();
        app.obtain("ada", PASSWORD).await.pair();
    }

    async fn each_sign_in_creates_a_session(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        let second = app.obtain("ada", PASSWORD).await.pair();
        assert_ne!(Forge::claims_of(&first.access)["sid"], Forge::claims_of(&second.access)["sid"]);
        app.blacklist(&first.refresh).await.expect(200, "{}");
        app.refresh(&second.refresh).await.pair();
    }

    async fn sign_in_updates_last_login(backend: Backend) {
        let app = TestApp::start(backend).await;
        let find = async || app.accounts().await.find(&username("ada")).await.unwrap().last_login;
        app.user("ada").await;
        assert_eq!(find().await, None);
        app.obtain("ada", "wrong").await.expect(401, BAD_CREDENTIALS);
        assert_eq!(find().await, None);
        app.advance(7);
        let pair = app.obtain("ada", PASSWORD).await.pair();
        assert_eq!(find().await.map(|login| login.timestamp()), Some(app.now()));
        app.advance(7);
        app.refresh(&pair.refresh).await.pair();
        assert_eq!(find().await.map(|login| login.timestamp()), Some(app.now() - 7));
    }

    async fn disabled_setting_keeps_last_login(backend: Backend) {
        let app = TestApp::start_with(backend, &["--update-last-login=false"]).await;
        app.signed_in("ada").await;
        assert_eq!(app.accounts().await.find(&username("ada")).await.unwrap().last_login, None);
    }

    /// A malformed hash in the database matches no password, and causes no error.
    async fn malformed_hash_matches_no_password(backend: Backend) {
        let app = TestApp::start(backend).await;
        app.user("ada").await;
        for hash in ["", "!", "x", "$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$aGFzaA"] {
            execute(&app, &format!("UPDATE users SET password_hash = '{hash}' WHERE username = 'ada'")).await;
            app.obtain("ada", PASSWORD).await.expect(401, BAD_CREDENTIALS);
        }
    }
}
