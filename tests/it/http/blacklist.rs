//! `POST /api/token/blacklist/`

use super::tools::{VERIFY_BLACKLISTED, deactivate, refused, refused_here};
use latchkey_testkit::{Backend, TestApp, on_both_backends, username};

on_both_backends! {
    async fn second_blacklisting_is_refused(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        let answer = app.blacklist(&pair.refresh).await;
        answer.expect(200, "{}");
        assert_eq!(answer.header("cache-control"), "no-store");
        app.blacklist(&pair.refresh).await.expect(401, &refused("Token is blacklisted"));
        app.refresh(&pair.refresh).await.expect(401, &refused("Token is blacklisted"));
    }

    async fn access_tokens_of_the_session_are_refused(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        app.advance(60);
        let second = app.refresh(&first.refresh).await.pair();
        app.blacklist(&second.refresh).await.expect(200, "{}");
        for access in [&first.access, &second.access] {
            app.verify(access).await.expect(400, VERIFY_BLACKLISTED);
            app.me(&format!("Bearer {access}")).await.expect(401, &refused_here("Token is blacklisted"));
        }
    }

    async fn inactive_and_deleted_users_can_log_out(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (idle, deleted) = (app.signed_in("idle").await, app.signed_in("deleted").await);
        deactivate(&app, "idle").await;
        app.accounts().await.delete(&username("deleted")).await.unwrap();
        for pair in [idle, deleted] {
            app.blacklist(&pair.refresh).await.expect(200, "{}");
            app.blacklist(&pair.refresh).await.expect(401, &refused("Token is blacklisted"));
        }
    }

    /// A tab that missed the last rotation can still log out.
    async fn token_in_grace_revokes_the_session(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        let second = app.refresh(&first.refresh).await.pair();
        app.blacklist(&first.refresh).await.expect(200, "{}");
        app.refresh(&second.refresh).await.expect(401, &refused("Token is blacklisted"));
    }

    async fn spent_token_is_refused_and_revokes_the_session(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        let second = app.refresh(&first.refresh).await.pair();
        app.advance(60);
        app.blacklist(&first.refresh).await.expect(401, &refused("Token is blacklisted"));
        app.refresh(&second.refresh).await.expect(401, &refused("Token is blacklisted"));
    }
}
