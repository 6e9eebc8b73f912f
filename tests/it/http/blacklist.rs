//! `POST /api/token/blacklist/`

use super::tools::{VERIFY_BLACKLISTED, deactivate, refused, refused_here};
use crate::support::{Backend, TestApp, username};

on_both_backends! {
    async fn a_token_is_blacklisted_once(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        let answer = app.blacklist(&pair.refresh).await;
        answer.expect(200, "{}");
        assert_eq!(answer.header("cache-control"), "no-store");
        app.blacklist(&pair.refresh).await.expect(401, &refused("Token is blacklisted"));
        app.refresh(&pair.refresh).await.expect(401, &refused("Token is blacklisted"));
    }

    async fn the_access_tokens_of_the_session_die_with_it(backend: Backend) {
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

    async fn users_who_are_inactive_or_gone_sign_out_like_others(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (idle, gone) = (app.signed_in("idle").await, app.signed_in("gone").await);
        deactivate(&app, "idle").await;
        app.accounts().await.delete(&username("gone")).await.unwrap();
        for pair in [idle, gone] {
            app.blacklist(&pair.refresh).await.expect(200, "{}");
            app.blacklist(&pair.refresh).await.expect(401, &refused("Token is blacklisted"));
        }
    }

    /// A tab that missed the last rotation signs out: the session ends.
    async fn the_token_just_spent_ends_the_session_too(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        let second = app.refresh(&first.refresh).await.pair();
        app.blacklist(&first.refresh).await.expect(200, "{}");
        app.refresh(&second.refresh).await.expect(401, &refused("Token is blacklisted"));
    }

    async fn a_token_spent_long_ago_is_refused_and_ends_the_session(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        let second = app.refresh(&first.refresh).await.pair();
        app.advance(60);
        app.blacklist(&first.refresh).await.expect(401, &refused("Token is blacklisted"));
        app.refresh(&second.refresh).await.expect(401, &refused("Token is blacklisted"));
    }
}
