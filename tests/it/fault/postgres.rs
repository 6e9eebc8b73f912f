//! Postgres unavailable, hung, locked or read-only: no wrong response, and recovery without a
//! restart.

use std::time::Duration;

use super::{BLACKLISTED, PASSWORD, Probe, VERIFY_BLACKLISTED, readiness, state, unavailable};
use latchkey_testkit::{
    Backend, TestApp,
    servers::{
        eventually,
        own::{OwnPostgres, OwnRedis},
    },
};

struct Scene {
    app: TestApp,
    postgres: OwnPostgres,
    _redis: OwnRedis,
}

impl Scene {
    /// Starts a server and waits until it trusts Redis.
    async fn start(flags: &[&str]) -> Self {
        let (postgres, redis) = (OwnPostgres::start_with(&[]).await, OwnRedis::start().await);
        let stores = [
            format!("--database-url={}", postgres.url()),
            format!("--redis-url={}", redis.url()),
        ];
        let mut all: Vec<&str> = stores.iter().map(String::as_str).collect();
        all.extend(flags);
        let app = TestApp::start_with(Backend::Embedded, &all).await;
        Probe::new(&app, &postgres.url())
            .await
            .eventually_redis_answers(&app)
            .await;
        Self {
            app,
            postgres,
            _redis: redis,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_down_leaves_access_tokens_verifiable() {
    let mut scene = Scene::start(&[]).await;
    let (dead, live) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    scene.app.blacklist(&dead.refresh).await.expect(200, "{}");
    let keys = scene.app.get("/.well-known/jwks.json").await;
    assert_eq!(keys.status, 200);

    scene.postgres.stop();
    let app = &scene.app;
    for _ in 0..12 {
        unavailable(&app.refresh(&live.refresh).await);
    }
    unavailable(&app.obtain("bob", PASSWORD).await);
    unavailable(&app.blacklist(&live.refresh).await);
    // Redis may report a refresh token as revoked, but never as valid.
    unavailable(&app.verify(&live.refresh).await);
    app.verify(&live.access).await.expect(200, "{}");
    app.verify(&dead.access)
        .await
        .expect(400, VERIFY_BLACKLISTED);
    app.verify(&dead.refresh)
        .await
        .expect(400, VERIFY_BLACKLISTED);
    assert_eq!(app.get("/.well-known/jwks.json").await.text, keys.text);
    assert_eq!(app.get("/health/live").await.status, 200);
    assert_eq!(readiness(app).await, state(503, "down", "ok"));
    assert_eq!(app.get("/health/ready").await.header("retry-after"), "1");

    scene.postgres.again().await;
    let app = &scene.app;
    let next = app.refresh(&live.refresh).await.pair();
    app.obtain("bob", PASSWORD).await.pair();
    app.refresh(&dead.refresh).await.expect(401, BLACKLISTED);
    app.blacklist(&next.refresh).await.expect(200, "{}");
    app.verify(&next.access)
        .await
        .expect(400, VERIFY_BLACKLISTED);
    assert_eq!(readiness(app).await, state(200, "ok", "ok"));
}

/// Redis reports the token as spent, so the database is queried only for the holder of the
/// successor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_of_a_spent_token_revokes_only_with_postgres() {
    let mut scene = Scene::start(&["--database-timeout=500ms"]).await;
    let first = scene.app.signed_in("ada").await;
    let second = scene.app.refresh(&first.refresh).await.pair();
    scene.postgres.stop();
    // Without the database, only Redis can refuse. From here on, the rotation's entry exists.
    eventually("Redis has the rotation's entry", async || {
        scene.app.verify(&first.refresh).await.status == 400
    })
    .await;
    let thief = scene.app.sender("127.0.0.9", Some("curl/8"));
    for _ in 0..3 {
        thief
            .verify(&first.refresh)
            .await
            .expect(400, VERIFY_BLACKLISTED);
    }
    unavailable(&scene.app.verify(&second.refresh).await);

    scene.postgres.again().await;
    eventually("Postgres answers", async || {
        scene.app.verify(&second.refresh).await.status == 200
    })
    .await;
    // The holder's request has no effect. The thief's revokes the session.
    scene
        .app
        .verify(&first.refresh)
        .await
        .expect(400, VERIFY_BLACKLISTED);
    scene.app.live(&second).await;
    let thief = scene.app.sender("127.0.0.9", Some("curl/8"));
    thief
        .verify(&first.refresh)
        .await
        .expect(400, VERIFY_BLACKLISTED);
    scene.app.dead(&second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hung_postgres_times_out_and_spends_no_token() {
    let scene = Scene::start(&["--database-timeout=500ms", "--database-pool-size=2"]).await;
    let pair = scene.app.signed_in("ada").await;
    scene.app.verify(&pair.access).await.expect(200, "{}");
    scene.postgres.hang();
    // Less than the default of the setting.
    let client = scene.app.with_timeout(Duration::from_secs(4));
    for _ in 0..4 {
        unavailable(&client.refresh(&pair.refresh).await);
    }
    scene.app.verify(&pair.access).await.expect(200, "{}");
    scene.postgres.go_on();
    let mut next = None;
    eventually("the same token returns its successor", async || {
        let answer = scene.app.refresh(&pair.refresh).await;
        next = (answer.status == 200).then(|| answer.pair());
        next.is_some()
    })
    .await;
    scene.app.refresh(&next.unwrap().refresh).await.pair();
}

/// Postgres hung for longer than the grace with a rotation in its receive buffer. If it ran that
/// rotation now, with the old time, the client's retry would count as reuse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abandoned_rotation_is_not_run_after_a_hang() {
    let scene = Scene::start(&["--database-timeout=500ms", "--database-pool-size=1"]).await;
    let pair = scene.app.signed_in("ada").await;
    let client = scene.postgres.client().await;
    let ours = "SELECT coalesce(string_agg(pid::text, ','), '') FROM pg_stat_activity WHERE application_name = 'latchkey'";
    let before: String = client.query_one(ours, &[]).await.unwrap().get(0);
    scene.postgres.hang();
    unavailable(&scene.app.refresh(&pair.refresh).await);
    scene.app.advance(60);
    scene.postgres.go_on();
    eventually("the abandoned connection has ended", async || {
        let now: String = client.query_one(ours, &[]).await.unwrap().get(0);
        !before
            .split(',')
            .any(|pid| now.split(',').any(|other| other == pid))
    })
    .await;
    let generations = "SELECT sum(generation)::bigint FROM sessions";
    assert_eq!(
        client
            .query_one(generations, &[])
            .await
            .unwrap()
            .get::<_, i64>(0),
        0
    );
    eventually("the same token returns its successor", async || {
        let answer = scene.app.refresh(&pair.refresh).await;
        assert_ne!(answer.status, 401, "{}", answer.text);
        answer.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exhausted_pool_returns_503_with_retry_after() {
    let scene = Scene::start(&["--database-timeout=500ms", "--database-pool-size=2"]).await;
    let pair = scene.app.signed_in("ada").await;
    let locker = scene.postgres.client().await;
    locker
        .batch_execute("BEGIN; LOCK TABLE sessions")
        .await
        .unwrap();
    let answers =
        futures_util::future::join_all((0..10).map(|_| scene.app.refresh(&pair.refresh))).await;
    answers.iter().for_each(unavailable);
    scene.app.verify(&pair.access).await.expect(200, "{}");
    locker.batch_execute("ROLLBACK").await.unwrap();
    scene.app.refresh(&pair.refresh).await.pair();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminated_connections_are_replaced() {
    let scene = Scene::start(&[]).await;
    let mut pair = scene.app.signed_in("ada").await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'latchkey'";
    for _ in 0..3 {
        scene.postgres.execute(end).await;
        eventually("a refresh succeeds", async || {
            let answer = scene.app.refresh(&pair.refresh).await;
            match answer.status {
                200 => pair = answer.pair(),
                _ => unavailable(&answer),
            }
            answer.status == 200
        })
        .await;
    }
}

/// A read-only Postgres, such as a demoted primary after a fail-over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_only_postgres_returns_503_and_no_internal_error() {
    let scene = Scene::start(&[]).await;
    let pair = scene.app.signed_in("ada").await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'latchkey'";
    scene
        .postgres
        .execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
        .await;
    scene.postgres.execute(end).await;
    for _ in 0..3 {
        unavailable(&scene.app.blacklist(&pair.refresh).await);
        unavailable(&scene.app.refresh(&pair.refresh).await);
        unavailable(&scene.app.me(&format!("Bearer {}", pair.access)).await);
        scene.app.verify(&pair.access).await.expect(200, "{}");
    }
    let administrator = scene.postgres.client().await;
    administrator
        .batch_execute("SET default_transaction_read_only = off")
        .await
        .unwrap();
    administrator
        .batch_execute("ALTER DATABASE postgres RESET default_transaction_read_only")
        .await
        .unwrap();
    scene.postgres.execute(end).await;
    eventually("a refresh succeeds", async || {
        scene.app.refresh(&pair.refresh).await.status == 200
    })
    .await;
}

/// A rotation's entry may be missing in Redis. Here the row is rotated directly in the database, so
/// no entry is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_down_leaves_refresh_tokens_unverifiable() {
    let mut scene = Scene::start(&[]).await;
    let pair = scene.app.signed_in("ada").await;
    scene.app.verify(&pair.refresh).await.expect(200, "{}");
    scene
        .postgres
        .execute("UPDATE sessions SET generation = generation + 1")
        .await;
    scene.postgres.stop();
    unavailable(&scene.app.verify(&pair.refresh).await);
    scene.app.verify(&pair.access).await.expect(200, "{}");
}
