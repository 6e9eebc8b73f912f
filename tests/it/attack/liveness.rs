//! Tokens with a valid signature whose session or user has ended.

use latchkey_verifier::Kind;
use serde_json::json;

use super::{BLACKLISTED, VERIFY_BLACKLISTED, shut_out};
use latchkey_testkit::{Backend, Pair, TestApp, on_both_backends, username};

const NO_ACCOUNT: &str = r#"{"detail":"No active account found for the given token."}"#;

/// Fails unless every view refuses both tokens of the pair.
async fn dead(app: &TestApp, pair: &Pair) {
    for token in [&pair.access, &pair.refresh] {
        app.verify(token).await.expect(400, VERIFY_BLACKLISTED);
    }
    app.refresh(&pair.refresh).await.expect(401, BLACKLISTED);
    app.blacklist(&pair.refresh).await.expect(401, BLACKLISTED);
    shut_out(app, "Token is blacklisted", "dead", &pair.access).await;
}

on_both_backends! {
    async fn verify_refuses_a_spent_token_within_the_grace(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        let second = app.refresh(&first.refresh).await.pair();
        app.verify(&first.refresh).await.expect(400, VERIFY_BLACKLISTED);
        app.verify(&second.refresh).await.expect(200, "{}");
        app.advance(11);
        app.verify(&first.refresh).await.expect(400, VERIFY_BLACKLISTED);
        // Verification is not use, so the session is still live.
        app.verify(&second.refresh).await.expect(200, "{}");
        app.refresh(&second.refresh).await.pair();
    }

    async fn log_out_invalidates_the_tokens_of_its_session(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        let second = app.refresh(&first.refresh).await.pair();
        let elsewhere = app.obtain("ada", latchkey_testkit::PASSWORD).await.pair();
        app.blacklist(&second.refresh).await.expect(200, "{}");
        dead(&app, &first).await;
        dead(&app, &second).await;
        super::still_good(&app, &elsewhere).await;
    }

    async fn reuse_invalidates_the_tokens_of_its_session(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        let second = app.refresh(&first.refresh).await.pair();
        let elsewhere = app.obtain("ada", latchkey_testkit::PASSWORD).await.pair();
        app.advance(11);
        app.refresh(&first.refresh).await.expect(401, BLACKLISTED);
        dead(&app, &first).await;
        dead(&app, &second).await;
        super::still_good(&app, &elsewhere).await;
    }

    async fn sign_out_invalidates_all_tokens_of_the_user(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (here, there) = (app.signed_in("ada").await, app.obtain("ada", latchkey_testkit::PASSWORD).await.pair());
        let eve = app.signed_in("eve").await;
        app.accounts().await.sign_out(&username("ada")).await.unwrap();
        dead(&app, &here).await;
        dead(&app, &there).await;
        super::still_good(&app, &eve).await;
        let again = app.obtain("ada", latchkey_testkit::PASSWORD).await.pair();
        super::still_good(&app, &again).await;
    }

    async fn deletion_of_the_user_invalidates_the_tokens(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        app.accounts().await.delete(&username("ada")).await.unwrap();
        for token in [&pair.access, &pair.refresh] {
            app.verify(token).await.expect(400, VERIFY_BLACKLISTED);
        }
        app.refresh(&pair.refresh).await.expect(401, NO_ACCOUNT);
        assert_eq!(app.me(&format!("Bearer {}", pair.access)).await.status, 401);
        // A new user with the same name does not restore the tokens.
        app.user("ada").await;
        assert_eq!(app.refresh(&pair.refresh).await.status, 401);
        assert_eq!(app.me(&format!("Bearer {}", pair.access)).await.status, 401);
    }

    async fn token_with_a_wrong_user_or_epoch_is_not_rotated(backend: Backend) {
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
