//! Tokens that were good once. The signature still is; the answer is not.

use latchkey_verifier::Kind;
use serde_json::json;

use super::{BLACKLISTED, VERIFY_BLACKLISTED, shut_out};
use crate::support::{Backend, Pair, TestApp, username};

const NO_ACCOUNT: &str = r#"{"detail":"No active account found for the given token."}"#;

/// Neither token of the pair is good for anything.
async fn dead(app: &TestApp, pair: &Pair) {
    for token in [&pair.access, &pair.refresh] {
        app.verify(token).await.expect(400, VERIFY_BLACKLISTED);
    }
    app.refresh(&pair.refresh).await.expect(401, BLACKLISTED);
    app.blacklist(&pair.refresh).await.expect(401, BLACKLISTED);
    shut_out(app, "Token is blacklisted", "dead", &pair.access).await;
}

on_both_backends! {
    async fn a_spent_refresh_token_does_not_verify_not_even_in_the_grace(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        let second = app.refresh(&first.refresh).await.pair();
        app.verify(&first.refresh).await.expect(400, VERIFY_BLACKLISTED);
        app.verify(&second.refresh).await.expect(200, "{}");
        app.advance(11);
        app.verify(&first.refresh).await.expect(400, VERIFY_BLACKLISTED);
        // Asking is not using: the session lives on.
        app.verify(&second.refresh).await.expect(200, "{}");
        app.refresh(&second.refresh).await.pair();
    }

    async fn the_tokens_of_a_session_that_was_logged_out_are_dead(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        let second = app.refresh(&first.refresh).await.pair();
        let elsewhere = app.obtain("ada", crate::support::PASSWORD).await.pair();
        app.blacklist(&second.refresh).await.expect(200, "{}");
        dead(&app, &first).await;
        dead(&app, &second).await;
        super::still_good(&app, &elsewhere).await;
    }

    async fn the_tokens_of_a_session_whose_refresh_token_was_stolen_are_dead(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        let second = app.refresh(&first.refresh).await.pair();
        let elsewhere = app.obtain("ada", crate::support::PASSWORD).await.pair();
        app.advance(11);
        app.refresh(&first.refresh).await.expect(401, BLACKLISTED);
        dead(&app, &first).await;
        dead(&app, &second).await;
        super::still_good(&app, &elsewhere).await;
    }

    async fn the_tokens_of_a_user_who_was_signed_out_everywhere_are_dead(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (here, there) = (app.signed_in("ada").await, app.obtain("ada", crate::support::PASSWORD).await.pair());
        let eve = app.signed_in("eve").await;
        app.accounts().await.sign_out(&username("ada")).await.unwrap();
        dead(&app, &here).await;
        dead(&app, &there).await;
        super::still_good(&app, &eve).await;
        let again = app.obtain("ada", crate::support::PASSWORD).await.pair();
        super::still_good(&app, &again).await;
    }

    async fn the_tokens_of_a_user_who_was_deleted_are_dead(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        app.accounts().await.delete(&username("ada")).await.unwrap();
        for token in [&pair.access, &pair.refresh] {
            app.verify(token).await.expect(400, VERIFY_BLACKLISTED);
        }
        app.refresh(&pair.refresh).await.expect(401, NO_ACCOUNT);
        assert_eq!(app.me(&format!("Bearer {}", pair.access)).await.status, 401);
        // Whoever takes the name next has nothing of it.
        app.user("ada").await;
        assert_eq!(app.refresh(&pair.refresh).await.status, 401);
        assert_eq!(app.me(&format!("Bearer {}", pair.access)).await.status, 401);
    }
    async fn a_token_that_names_the_wrong_user_or_sign_out_spends_nothing(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        for changes in [json!({ "ver": 1 }), json!({ "sub": "eve" }), json!({ "sub": "x\0y" }), json!({ "gen": 1 })] {
            let forged = app.forge().altered(&pair.refresh, Kind::Refresh, &changes);
            app.refresh(&forged).await.expect(401, r#"{"detail":"Token is invalid","code":"token_not_valid"}"#);
        }
        super::still_good(&app, &pair).await;
        app.refresh(&pair.refresh).await.pair();
    }
}
