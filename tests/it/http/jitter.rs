//! `LATCHKEY_ACCESS_TOKEN_JITTER`: tabs that signed in together do not refresh together.

use std::collections::BTreeSet;

use crate::support::{Backend, Forge, TestApp};

fn life(token: &str) -> i64 {
    let claims = Forge::claims_of(token);
    claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap()
}

on_both_backends! {
    async fn access_tokens_differ_by_no_more_than_it_and_refresh_tokens_by_nothing(backend: Backend) {
        let app = TestApp::start_with(backend, &["--access-token-lifetime=10m", "--access-token-jitter=2m"]).await;
        let mut pair = app.signed_in("ada").await;
        let mut lives = BTreeSet::new();
        for _ in 0..40 {
            assert_eq!(life(&pair.refresh), 86_400);
            lives.insert(life(&pair.access));
            pair = app.refresh(&pair.refresh).await.pair();
        }
        assert!(lives.iter().all(|life| (480..=600).contains(life)), "{lives:?}");
        // Of forty out of 121, half or more are alike once in more than 10^20 times.
        assert!(lives.len() > 20, "{lives:?}");
        // A token of the shortest life there may be is over when it says so, and no token is over before.
        app.advance(479);
        app.verify(&pair.access).await.expect(200, "{}");
        app.advance(121);
        assert_eq!(app.verify(&pair.access).await.status, 401);
    }

    async fn without_it_all_live_equally_long(backend: Backend) {
        let app = TestApp::start(backend).await;
        let mut pair = app.signed_in("ada").await;
        for _ in 0..10 {
            assert_eq!(life(&pair.access), 300);
            pair = app.refresh(&pair.refresh).await.pair();
        }
    }
}
