//! `POST /api/token/refresh/`

use super::tools::{NO_ACCOUNT, deactivate, refused};
use latchkey_testkit::{Backend, Forge, TestApp, on_both_backends, username};

on_both_backends! {
    async fn access_token_comes_first(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        let answer = app.refresh(&first.refresh).await;
        let pair = answer.pair();
        answer.expect(200, &format!(r#"{{"access":"{}","refresh":"{}"}}"#, pair.access, pair.refresh));
        assert_eq!(answer.header("cache-control"), "no-store");
    }

    async fn refresh_without_rotation_returns_only_an_access_token(backend: Backend) {
        let flags = ["--rotate-refresh-tokens=false", "--blacklist-after-rotation=false"];
        let app = TestApp::start_with(backend, &flags).await;
        let first = app.signed_in("ada").await;
        for _ in 0..3 {
            app.advance(3600);
            let answer = app.refresh(&first.refresh).await;
            let access = answer.json()["access"].as_str().unwrap().to_owned();
            answer.expect(200, &format!(r#"{{"access":"{access}"}}"#));
            app.verify(&access).await.expect(200, "{}");
        }
        app.verify(&first.refresh).await.expect(200, "{}");
        app.blacklist(&first.refresh).await.expect(200, "{}");
        app.refresh(&first.refresh).await.expect(401, &refused("Token is blacklisted"));
    }

    async fn inactive_or_deleted_user_is_refused(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (idle, deleted) = (app.signed_in("idle").await, app.signed_in("deleted").await);
        deactivate(&app, "idle").await;
        app.accounts().await.delete(&username("deleted")).await.unwrap();
        for token in [&idle.refresh, &deleted.refresh] {
            for _ in 0..2 {
                let answer = app.refresh(token).await;
                answer.expect(401, NO_ACCOUNT);
                assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"api\"");
            }
        }
        // Deactivation revokes every session. Reactivation does not restore it.
        app.accounts().await.set_active(&username("idle"), true).await.unwrap();
        app.refresh(&idle.refresh).await.expect(401, &refused("Token is blacklisted"));
    }

    async fn access_token_has_the_wrong_type(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        app.refresh(&pair.access).await.expect(401, &refused("Token has wrong type"));
        app.blacklist(&pair.access).await.expect(401, &refused("Token has wrong type"));
        app.refresh(&pair.refresh).await.pair();
    }

    async fn token_expires_exactly_at_exp(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        let exp = Forge::claims_of(&pair.refresh)["exp"].as_i64().unwrap();
        app.advance(exp - app.now() - 1);
        app.verify(&pair.refresh).await.expect(200, "{}");
        app.advance(1);
        for answer in [app.refresh(&pair.refresh).await, app.verify(&pair.refresh).await, app.blacklist(&pair.refresh).await] {
            answer.expect(401, &refused("Token is expired"));
        }
    }

    /// As in simplejwt, expiry is checked first.
    async fn expired_is_reported_before_blacklisted(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        app.blacklist(&pair.refresh).await.expect(200, "{}");
        app.advance(86_400);
        for answer in [app.refresh(&pair.refresh).await, app.verify(&pair.refresh).await, app.blacklist(&pair.refresh).await] {
            answer.expect(401, &refused("Token is expired"));
        }
    }

    async fn password_change_revokes_every_session(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        let password = latchkey_domain::password::Password::parse_new("another long password".to_owned()).unwrap();
        app.accounts().await.set_password(&username("ada"), password).await.unwrap();
        app.refresh(&pair.refresh).await.expect(401, &refused("Token is blacklisted"));
        app.obtain("ada", "another long password").await.pair();
    }

    async fn refresh_does_not_extend_the_session_lifetime(backend: Backend) {
        let flags = ["--refresh-token-lifetime=1h", "--session-lifetime=90m"];
        let app = TestApp::start_with(backend, &flags).await;
        let end = app.now() + 90 * 60;
        let first = app.signed_in("ada").await;
        assert_eq!(Forge::claims_of(&first.refresh)["exp"], app.now() + 3600);
        app.advance(45 * 60);
        let second = app.refresh(&first.refresh).await.pair();
        assert_eq!(Forge::claims_of(&second.refresh)["exp"], end);
        app.advance(44 * 60);
        let third = app.refresh(&second.refresh).await.pair();
        assert_eq!(Forge::claims_of(&third.refresh)["exp"], end);
        assert_eq!(Forge::claims_of(&third.access)["exp"], end);
        app.advance(60);
        app.refresh(&third.refresh).await.expect(401, &refused("Token is expired"));
        app.verify(&third.access).await.expect(401, &refused("Token is expired"));
    }
}
