//! Repeated use of one refresh token.

use super::tools::{VERIFY_BLACKLISTED, refused, refused_here};
use latchkey_testkit::{Backend, TestApp, on_both_backends};

on_both_backends! {
    async fn refresh_within_grace_repeats_the_successor(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        let winner = app.refresh(&first.refresh).await.pair();
        for _ in 0..2 {
            app.advance(5);
            let again = app.refresh(&first.refresh).await.pair();
            assert_eq!(again.refresh, winner.refresh);
            assert_ne!(again.access, winner.access);
            app.verify(&again.access).await.expect(200, "{}");
        }
        app.refresh(&winner.refresh).await.pair();
    }

    async fn refresh_after_grace_revokes_the_session(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        let second = app.refresh(&first.refresh).await.pair();
        app.advance(11);
        for _ in 0..2 {
            app.refresh(&first.refresh).await.expect(401, &refused("Token is blacklisted"));
        }
        app.refresh(&second.refresh).await.expect(401, &refused("Token is blacklisted"));
        for token in [&first.access, &second.access, &second.refresh] {
            app.verify(token).await.expect(400, VERIFY_BLACKLISTED);
        }
        app.me(&format!("Bearer {}", second.access)).await.expect(401, &refused_here("Token is blacklisted"));
    }

    /// Use of the successor shows that it arrived, so no retry is possible.
    async fn older_generation_has_no_grace(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        let second = app.refresh(&first.refresh).await.pair();
        let third = app.refresh(&second.refresh).await.pair();
        app.refresh(&first.refresh).await.expect(401, &refused("Token is blacklisted"));
        app.refresh(&third.refresh).await.expect(401, &refused("Token is blacklisted"));
    }

    /// The behaviour of simplejwt.
    async fn zero_grace_allows_one_use(backend: Backend) {
        let app = TestApp::start_with(backend, &["--refresh-reuse-grace=0s"]).await;
        let first = app.signed_in("ada").await;
        let second = app.refresh(&first.refresh).await.pair();
        app.refresh(&first.refresh).await.expect(401, &refused("Token is blacklisted"));
        app.refresh(&second.refresh).await.expect(401, &refused("Token is blacklisted"));
    }

    async fn concurrent_refreshes_get_one_successor(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        let answers = futures_util::future::join_all((0..8).map(|_| app.refresh(&first.refresh))).await;
        let successors: std::collections::HashSet<String> = answers.iter().map(|answer| answer.pair().refresh).collect();
        assert_eq!(successors.len(), 1);
    }

    async fn two_servers_return_one_successor(backend: Backend) {
        let app = TestApp::start(backend).await;
        let twin = app.twin().await;
        let first = app.signed_in("ada").await;
        let (here, there) = futures_util::future::join(app.refresh(&first.refresh), twin.refresh(&first.refresh)).await;
        assert_eq!(here.pair().refresh, there.pair().refresh);
        app.advance(11);
        twin.refresh(&first.refresh).await.expect(401, &refused("Token is blacklisted"));
        app.me(&format!("Bearer {}", here.pair().access)).await.expect(401, &refused_here("Token is blacklisted"));
    }

    /// The grace starts at the rotation. Repeats do not extend it.
    async fn repeats_do_not_extend_the_grace(backend: Backend) {
        let app = TestApp::start_with(backend, &["--refresh-reuse-grace=30s"]).await;
        let first = app.signed_in("ada").await;
        let second = app.refresh(&first.refresh).await.pair();
        app.advance(30);
        assert_eq!(app.refresh(&first.refresh).await.pair().refresh, second.refresh);
        app.clock.advance_ms(1);
        app.refresh(&first.refresh).await.expect(401, &refused("Token is blacklisted"));
    }

    /// Corresponds to `BLACKLIST_AFTER_ROTATION = False`.
    async fn unspent_old_token_returns_its_successor_until_expiry(backend: Backend) {
        let app = TestApp::start_with(backend, &["--blacklist-after-rotation=false"]).await;
        let first = app.signed_in("ada").await;
        let second = app.refresh(&first.refresh).await.pair();
        app.advance(3600);
        app.verify(&first.refresh).await.expect(200, "{}");
        let again = app.refresh(&first.refresh).await.pair();
        assert_eq!(again.refresh, second.refresh);
        app.advance(86_400 - 3600);
        app.refresh(&first.refresh).await.expect(401, &refused("Token is expired"));
    }

    async fn log_out_without_blacklisting_after_rotation_is_final(backend: Backend) {
        let app = TestApp::start_with(backend, &["--blacklist-after-rotation=false"]).await;
        let first = app.signed_in("ada").await;
        let second = app.refresh(&first.refresh).await.pair();
        app.advance(60);
        app.blacklist(&first.refresh).await.expect(200, "{}");
        for token in [&first.refresh, &second.refresh] {
            app.refresh(token).await.expect(401, &refused("Token is blacklisted"));
        }
        app.me(&format!("Bearer {}", second.access)).await.expect(401, &refused_here("Token is blacklisted"));
    }
}
