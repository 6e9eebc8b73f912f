//! Spent refresh tokens that another client sends to views other than refresh. The response would
//! reveal that the owner has refreshed.

use futures_util::future::join_all;

use super::{
    BLACKLISTED, VERIFY_BLACKLISTED, WRONG_TYPE, shut_out,
    spent::{refreshed, reuse},
};
use latchkey_testkit::{Backend, TestApp, detail, on_both_backends};

const HERE: &str = "127.0.0.1";
const ELSEWHERE: &str = "127.0.0.9";
const PHONE: Option<&str> = Some("phone/1");
const OTHER: Option<&str> = Some("curl/8");

on_both_backends! {
    async fn verify_by_another_client_is_reuse(backend: Backend) {
        for seconds in [0, 3600] {
            let app = TestApp::start(backend).await;
            let (first, second) = refreshed(&app).await;
            app.advance(seconds);
            app.sender(ELSEWHERE, OTHER).verify(&first.refresh).await.expect(400, VERIFY_BLACKLISTED);
            app.sender(HERE, PHONE).refresh(&second.refresh).await.expect(401, BLACKLISTED);
            let event = reuse(&app).await;
            assert_eq!((detail(&event, "view"), detail(&event, "differs")), ("verify", "address,agent"));
            let refused = app.eventually_event("refused", |event| event.event == "token_refused" && detail(event, "view") == "verify").await;
            assert_eq!((refused.cause.as_deref(), refused.origin.ip.as_deref()), (Some("reuse"), Some(ELSEWHERE)));
        }
    }

    async fn verify_of_a_current_token_by_another_client_is_allowed(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (_, second) = refreshed(&app).await;
        let thief = app.sender(ELSEWHERE, OTHER);
        thief.verify(&second.refresh).await.expect(200, "{}");
        assert_eq!(thief.profile(&second.refresh).await.status, 401);
        app.live(&second).await;
    }

    /// Models a stale tab, a phone that changed networks, and an updated browser.
    async fn verify_by_a_similar_client_is_refused_and_recorded(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (first, second) = refreshed(&app).await;
        for (address, agent) in [(HERE, PHONE), (ELSEWHERE, PHONE), (HERE, OTHER)] {
            for _ in 0..5 {
                app.sender(address, agent).verify(&first.refresh).await.expect(400, VERIFY_BLACKLISTED);
                assert_eq!(app.sender(address, agent).profile(&first.refresh).await.status, 401);
            }
        }
        app.eventually_event("recorded", |event| event.cause.as_deref() == Some("spent") && event.origin.ip.as_deref() == Some(ELSEWHERE) && event.times == 5).await;
        app.sender(HERE, PHONE).refresh(&second.refresh).await.pair();
    }

    async fn protected_view_by_another_client_is_reuse(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (first, second) = refreshed(&app).await;
        let answer = app.sender(ELSEWHERE, OTHER).profile(&first.refresh).await;
        assert_eq!(answer.status, 401);
        app.dead(&second).await;
        assert_eq!(detail(&reuse(&app).await, "view"), "protected");
        // The response is the same as for any refresh token.
        shut_out(&app, WRONG_TYPE, "spent", &first.refresh).await;
        assert_eq!(answer.text, app.me(&format!("Bearer {}", second.refresh)).await.text);
    }

    async fn logout_by_another_client_is_reuse(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (first, second) = refreshed(&app).await;
        app.sender(ELSEWHERE, OTHER).blacklist(&first.refresh).await.expect(401, BLACKLISTED);
        app.dead(&second).await;
        assert_eq!(detail(&reuse(&app).await, "view"), "blacklist");
    }

    async fn logout_from_another_network_is_a_log_out(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (first, second) = refreshed(&app).await;
        app.sender(ELSEWHERE, PHONE).blacklist(&first.refresh).await.expect(200, "{}");
        app.dead(&second).await;
        assert!(app.events().await.iter().all(|event| event.event != "reuse"));
    }

    async fn verify_flood_by_another_client_revokes_once(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (first, second) = refreshed(&app).await;
        let thief = app.sender(ELSEWHERE, OTHER);
        for answer in join_all((0..30).map(|_| thief.verify(&first.refresh))).await {
            answer.expect(400, VERIFY_BLACKLISTED);
        }
        app.dead(&second).await;
        reuse(&app).await;
    }

    async fn spent_token_after_a_log_out_is_not_reuse(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (first, second) = refreshed(&app).await;
        app.sender(HERE, PHONE).blacklist(&second.refresh).await.expect(200, "{}");
        let thief = app.sender(ELSEWHERE, OTHER);
        thief.verify(&first.refresh).await.expect(400, VERIFY_BLACKLISTED);
        thief.refresh(&first.refresh).await.expect(401, BLACKLISTED);
        assert!(app.events().await.iter().all(|event| event.event != "reuse"));
    }
}
