//! `LATCHKEY_SESSIONS_PER_USER`: a sign-in beyond the limit revokes the oldest session.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use latchkey_testkit::{
    Answer, Backend, PASSWORD, Pair, TestApp, on_both_backends, servers::eventually, sid,
};

const LIMIT: &[&str] = &["--sessions-per-user=3", "--hash-queue=128"];

on_both_backends! {
    async fn fourth_sign_in_revokes_the_oldest_session(backend: Backend) {
        let app = TestApp::start_with(backend, LIMIT).await;
        let twin = app.twin().await;
        let eve = app.signed_in("eve").await;
        let mut pairs = vec![app.signed_in("ada").await];
        for _ in 0..3 {
            app.advance(1);
            pairs.push(app.obtain("ada", PASSWORD).await.pair());
        }
        for server in [&twin, &app] {
            server.dead(&pairs[0]).await;
            for pair in pairs[1..].iter().chain([&eve]) {
                server.live(pair).await;
            }
        }
        // The order is that of the sign-ins. A refresh does not change it.
        app.advance(1);
        let used = app.refresh(&pairs[1].refresh).await.pair();
        let newest = app.obtain("ada", PASSWORD).await.pair();
        app.dead(&used).await;
        for pair in [&pairs[2], &pairs[3], &newest, &eve] {
            app.live(pair).await;
        }
        let revocations: Vec<_> = app.events().await.into_iter().filter(|event| event.event == "session_revoked").collect();
        assert_eq!(revocations.len(), 2);
        for (event, pair) in revocations.iter().zip(&pairs) {
            assert_eq!((event.cause.as_deref(), event.actor.as_str()), (Some("session_limit"), "latchkey"));
            assert_eq!(event.session.unwrap().to_string(), sid(&pair.access));
            assert!(event.user.is_some());
        }
    }

    async fn revoked_and_expired_sessions_do_not_count(backend: Backend) {
        let app = TestApp::start_with(backend, &["--sessions-per-user=3", "--session-lifetime=1h", "--refresh-token-lifetime=1h"]).await;
        let first = app.signed_in("ada").await;
        app.advance(3599);
        let mut kept = vec![app.obtain("ada", PASSWORD).await.pair()];
        let out = app.obtain("ada", PASSWORD).await.pair();
        app.log_out(&out.refresh).await;
        app.advance(1);
        for _ in 0..2 {
            kept.push(app.obtain("ada", PASSWORD).await.pair());
        }
        for pair in &kept {
            app.live(pair).await;
        }
        assert_eq!(app.verify(&first.refresh).await.status, 401);
    }

    async fn limit_of_one_keeps_the_last_sign_in(backend: Backend) {
        let app = TestApp::start_with(backend, &["--sessions-per-user=1"]).await;
        let mut last = app.signed_in("ada").await;
        // Also for sign-ins at the same time.
        for _ in 0..6 {
            let next = app.obtain("ada", PASSWORD).await.pair();
            app.dead(&last).await;
            app.live(&next).await;
            last = next;
        }
    }

    /// Each sign-in may see newer sessions. Together they must not revoke too many.
    async fn concurrent_sign_ins_keep_exactly_the_limit(backend: Backend) {
        let app = TestApp::start_with(backend, LIMIT).await;
        let twin = app.twin().await;
        let eve = app.signed_in("eve").await;
        app.user("ada").await;
        for _ in 0..3 {
            app.advance(1);
            let requests = (0..20).map(|number| {
                let server = if number % 2 == 0 { &app } else { &twin };
                server.obtain("ada", PASSWORD)
            });
            let pairs: Vec<Pair> = join_all(requests).await.iter().map(Answer::pair).collect();
            let mut live = Vec::new();
            for pair in &pairs {
                if app.me(&format!("Bearer {}", pair.access)).await.status == 200 {
                    live.push(pair);
                }
            }
            assert_eq!(live.len(), 3);
            for pair in &pairs {
                if live.contains(&pair) {
                    twin.live(pair).await;
                } else {
                    twin.dead(pair).await;
                }
            }
            let listed: BTreeSet<String> = app.own_sessions(&live[0].access).await.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect();
            assert_eq!(listed, live.iter().map(|pair| sid(&pair.access)).collect());
        }
        app.live(&eve).await;
    }
}

/// The revocation has a blacklist entry, so the session is refused without the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_refuses_evicted_sessions_without_the_database() {
    use latchkey_testkit::servers::own::{OwnPostgres, OwnRedis};
    let (mut postgres, redis) = (OwnPostgres::start_with(&[]).await, OwnRedis::start().await);
    let urls = [
        format!("--database-url={}", postgres.url()),
        format!("--redis-url={}", redis.url()),
    ];
    let flags: Vec<&str> = urls
        .iter()
        .map(String::as_str)
        .chain(["--sessions-per-user=1"])
        .collect();
    let app = TestApp::start_with(Backend::Embedded, &flags).await;
    let evicted = app.signed_in("ada").await;
    eventually("Redis is ready", async || {
        app.get("/health/ready").await.json()["redis"] == "ok"
    })
    .await;
    let kept = app.obtain("ada", PASSWORD).await.pair();
    postgres.stop();
    eventually("Redis answers", async || {
        app.verify(&kept.access).await.status == 200
    })
    .await;
    app.verify(&evicted.access)
        .await
        .expect(400, r#"{"non_field_errors":["Token is blacklisted"]}"#);
}
