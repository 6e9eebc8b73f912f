//! `POST /api/token/verify/`

use super::tools::{VERIFY_BLACKLISTED, deactivate, refused};
use latchkey_testkit::{Backend, TestApp, on_both_backends, username};

on_both_backends! {
    async fn both_kinds_of_token_are_valid(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        for token in [&pair.access, &pair.refresh] {
            let answer = app.verify(token).await;
            answer.expect(200, "{}");
            assert_eq!(answer.header("cache-control"), "no-store");
        }
        app.advance(300);
        app.verify(&pair.access).await.expect(401, &refused("Token is expired"));
        app.verify(&pair.refresh).await.expect(200, "{}");
    }

    async fn blacklisted_token_is_a_400_without_a_challenge(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        app.blacklist(&pair.refresh).await.expect(200, "{}");
        for token in [&pair.refresh, &pair.access] {
            let answer = app.verify(token).await;
            answer.expect(400, VERIFY_BLACKLISTED);
            assert_eq!(answer.header("www-authenticate"), "");
        }
    }

    async fn spent_refresh_token_is_blacklisted_immediately(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        let second = app.refresh(&first.refresh).await.pair();
        app.verify(&first.refresh).await.expect(400, VERIFY_BLACKLISTED);
        for token in [&first.access, &second.access, &second.refresh] {
            app.verify(token).await.expect(200, "{}");
        }
    }

    async fn deactivation_deletion_and_sign_out_are_detected(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (idle, deleted, out) = (app.signed_in("idle").await, app.signed_in("deleted").await, app.signed_in("out").await);
        deactivate(&app, "idle").await;
        app.accounts().await.delete(&username("deleted")).await.unwrap();
        app.accounts().await.sign_out(&username("out")).await.unwrap();
        for pair in [idle, deleted, out] {
            app.verify(&pair.access).await.expect(400, VERIFY_BLACKLISTED);
            app.verify(&pair.refresh).await.expect(400, VERIFY_BLACKLISTED);
        }
    }

    async fn refusal_has_a_challenge(backend: Backend) {
        let app = TestApp::start(backend).await;
        let answer = app.verify("junk").await;
        answer.expect(401, &refused("Token is invalid"));
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"api\"");
    }
}
