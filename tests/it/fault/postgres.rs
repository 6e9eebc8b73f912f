//! Postgres is gone, hung, locked or read-only: nobody is let in or out by mistake, and it heals by itself.

use std::time::{Duration, Instant};

use super::{BLACKLISTED, PASSWORD, Probe, REFUSED, is, ready, unavailable};
use crate::support::{
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
    /// A server that believes Redis.
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
async fn without_postgres_access_tokens_are_still_checked_and_all_else_waits_for_its_return() {
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
    // Redis may say that a refresh token is dead, never that it lives.
    unavailable(&app.verify(&live.refresh).await);
    app.verify(&live.access).await.expect(200, "{}");
    app.verify(&dead.access).await.expect(400, REFUSED);
    app.verify(&dead.refresh).await.expect(400, REFUSED);
    assert_eq!(app.get("/.well-known/jwks.json").await.text, keys.text);
    assert_eq!(app.get("/health/live").await.status, 200);
    assert_eq!(ready(app).await, is(503, "down", "ok"));
    assert_eq!(app.get("/health/ready").await.header("retry-after"), "1");

    scene.postgres.again().await;
    let app = &scene.app;
    let next = app.refresh(&live.refresh).await.pair();
    app.obtain("bob", PASSWORD).await.pair();
    app.refresh(&dead.refresh).await.expect(401, BLACKLISTED);
    app.blacklist(&next.refresh).await.expect(200, "{}");
    app.verify(&next.access).await.expect(400, REFUSED);
    assert_eq!(ready(app).await, is(200, "ok", "ok"));
}

/// Redis reports the token as spent, so the database is queried only for the holder of the successor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thief_who_asks_verify_about_a_spent_token_is_refused_without_postgres_and_ends_the_session_with_it()
 {
    let mut scene = Scene::start(&["--database-timeout=500ms"]).await;
    let first = scene.app.signed_in("ada").await;
    let second = scene.app.refresh(&first.refresh).await.pair();
    scene.postgres.stop();
    // Without the database, only Redis can refuse. From here on, the mark of the rotation exists.
    eventually("Redis knows of the rotation", async || {
        scene.app.verify(&first.refresh).await.status == 400
    })
    .await;
    let thief = scene.app.sender("127.0.0.9", Some("curl/8"));
    for _ in 0..3 {
        thief.verify(&first.refresh).await.expect(400, REFUSED);
    }
    unavailable(&scene.app.verify(&second.refresh).await);

    scene.postgres.again().await;
    eventually("Postgres is there", async || {
        scene.app.verify(&second.refresh).await.status == 200
    })
    .await;
    // The holder's request has no effect, the thief's has one.
    scene.app.verify(&first.refresh).await.expect(400, REFUSED);
    scene.app.live(&second).await;
    let thief = scene.app.sender("127.0.0.9", Some("curl/8"));
    thief.verify(&first.refresh).await.expect(400, REFUSED);
    scene.app.dead(&second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_hangs_is_waited_for_no_longer_than_the_limit_and_burns_no_token() {
    let scene = Scene::start(&["--database-timeout=500ms", "--database-pool-size=2"]).await;
    let pair = scene.app.signed_in("ada").await;
    scene.app.verify(&pair.access).await.expect(200, "{}");
    scene.postgres.hang();
    let started = Instant::now();
    for _ in 0..4 {
        unavailable(&scene.app.refresh(&pair.refresh).await);
    }
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "{:?} for four requests",
        started.elapsed()
    );
    scene.app.verify(&pair.access).await.expect(200, "{}");
    scene.postgres.go_on();
    let mut next = None;
    eventually("the same token is good for its successor", async || {
        let answer = scene.app.refresh(&pair.refresh).await;
        next = (answer.status == 200).then(|| answer.pair());
        next.is_some()
    })
    .await;
    scene.app.refresh(&next.unwrap().refresh).await.pair();
}

/// It stood still for longer than the grace, and what had been sent to it lay there. Done then, at the old moment, the
/// rotation would make a thief of the client that asks again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_postgres_finds_after_it_was_given_up_is_not_done() {
    let scene = Scene::start(&["--database-timeout=500ms", "--database-pool-size=1"]).await;
    let pair = scene.app.signed_in("ada").await;
    let client = scene.postgres.client().await;
    let ours = "SELECT coalesce(string_agg(pid::text, ','), '') FROM pg_stat_activity WHERE application_name = 'latchkey'";
    let before: String = client.query_one(ours, &[]).await.unwrap().get(0);
    scene.postgres.hang();
    unavailable(&scene.app.refresh(&pair.refresh).await);
    scene.app.advance(60);
    scene.postgres.go_on();
    eventually("the connection that was given up has ended", async || {
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
    eventually("the same token is good for its successor", async || {
        let answer = scene.app.refresh(&pair.refresh).await;
        assert_ne!(answer.status, 401, "{}", answer.text);
        answer.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_connections_are_taken_the_others_are_asked_to_come_back() {
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
async fn connections_that_the_server_ended_are_replaced() {
    let scene = Scene::start(&[]).await;
    let mut pair = scene.app.signed_in("ada").await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'latchkey'";
    for _ in 0..3 {
        scene.postgres.execute(end).await;
        eventually("a refresh goes through", async || {
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

/// As after a fail-over, when the address still leads to what is now a replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_takes_no_writes_is_out_of_order_and_not_an_internal_error() {
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
    eventually("a refresh goes through", async || {
        scene.app.refresh(&pair.refresh).await.status == 200
    })
    .await;
}

/// A rotation's mark may never have come to Redis. Here it has not: the rotation happened behind Latchkey's back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_postgres_nobody_says_that_a_refresh_token_is_good() {
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
