//! Redis unavailable, hung, emptied or restored from an old snapshot: no response is wrong.

use std::time::Instant;

use latchkey_domain::{ids::SessionId, username::Username};

use super::{BLACKLISTED, PASSWORD, VERIFY_BLACKLISTED, readiness, redis_scene::Scene, state};
use latchkey_testkit::{
    servers::{self, eventually, own::OwnRedis},
    sid,
};

const FAILURES: &str = "latchkey_blacklist_connection_failures_total";

async fn scene() -> Scene<OwnRedis> {
    let redis = OwnRedis::start().await;
    let flags = [format!("--redis-url={}", redis.url())];
    Scene::with(redis, &flags).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_down_keeps_responses_correct_and_readiness_degraded() {
    let mut scene = scene().await;
    let dead = scene.app.signed_in("ada").await;
    let live = scene.app.signed_in("bob").await;
    scene.app.blacklist(&dead.refresh).await.expect(200, "{}");
    assert_eq!(readiness(&scene.app).await, state(200, "ok", "ok"));

    scene.redis.kill();
    scene.refused(&dead).await;
    scene.accepted(&live).await;
    assert!(!scene.probe.redis_answers(&scene.app).await);
    assert_eq!(readiness(&scene.app).await, state(200, "degraded", "down"));
    let next = scene.twin.refresh(&live.refresh).await.pair();
    scene.app.blacklist(&next.refresh).await.expect(200, "{}");
    scene.refused(&next).await;
    let new = scene.app.obtain("bob", PASSWORD).await.pair();
    scene.accepted(&new).await;

    scene.redis.again().await;
    scene.refused_until_trusted(&dead).await;
    scene.refused(&next).await;
    scene.accepted(&new).await;
    eventually("readiness is ok", async || {
        readiness(&scene.app).await == state(200, "ok", "ok")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocations_hold_after_flushall() {
    let scene = scene().await;
    let (logged_out, deactivated) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    scene
        .app
        .blacklist(&logged_out.refresh)
        .await
        .expect(200, "{}");
    let accounts = scene.app.accounts().await;
    accounts
        .set_active(&Username::parse("bob").unwrap(), false)
        .await
        .unwrap();
    for _ in 0..3 {
        let () = scene.redis.ask(&["FLUSHALL"]).await;
        scene.refused_until_trusted(&logged_out).await;
        for server in scene.servers() {
            server
                .verify(&deactivated.access)
                .await
                .expect(400, VERIFY_BLACKLISTED);
        }
    }
}

/// Redis saved a snapshot before the log-out, was down during it, and restarts from the snapshot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_out_during_redis_outage_holds_after_an_old_snapshot() {
    let mut scene = scene().await;
    let (before, during) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    let () = scene.redis.ask(&["SAVE"]).await;
    scene.app.blacklist(&before.refresh).await.expect(200, "{}");
    scene.redis.kill();
    scene.app.blacklist(&during.refresh).await.expect(200, "{}");
    scene.redis.again().await;
    scene.refused_until_trusted(&during).await;
    scene.refused(&before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hung_redis_opens_the_breaker_and_changes_no_response() {
    let scene = scene().await;
    let (dead, live) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    scene.app.blacklist(&dead.refresh).await.expect(200, "{}");
    scene.redis.hang();
    let (started, before) = (Instant::now(), scene.app.metric(FAILURES).await);
    for _ in 0..20 {
        scene.app.verify(&live.access).await.expect(200, "{}");
        scene
            .app
            .verify(&dead.access)
            .await
            .expect(400, VERIFY_BLACKLISTED);
    }
    // Each of two workers and the background tasks wait for one timeout a second at most.
    let failures = scene.app.metric(FAILURES).await - before;
    let allowed = 3 * (started.elapsed().as_secs() + 2);
    assert!(failures <= allowed, "{failures} of {allowed}");
    let next = scene.app.refresh(&live.refresh).await.pair();
    scene.app.blacklist(&next.refresh).await.expect(200, "{}");
    scene.refused(&next).await;
    scene.redis.go_on();
    scene.refused_until_trusted(&next).await;
    scene.refused(&dead).await;
}

/// The database has the revocation. The other instance reads it within one janitor interval.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_only_redis_loses_no_revocation() {
    let scene = scene().await;
    let pair = scene.app.signed_in("ada").await;
    let () = scene
        .redis
        .ask(&["CONFIG", "SET", "min-replicas-to-write", "1"])
        .await;
    scene.app.blacklist(&pair.refresh).await.expect(200, "{}");
    scene
        .app
        .verify(&pair.access)
        .await
        .expect(400, VERIFY_BLACKLISTED);
    eventually("the twin refuses the token", async || {
        scene.twin.verify(&pair.access).await.status == 400
    })
    .await;
    let () = scene
        .redis
        .ask(&["CONFIG", "SET", "min-replicas-to-write", "0"])
        .await;
    scene.refused_until_trusted(&pair).await;
}

/// One instance cannot reach Redis. The others read its revocations from the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_out_on_an_instance_without_redis_reaches_the_others() {
    let mut scene = scene().await;
    let unreachable = format!("redis://127.0.0.1:{}", servers::own::free_port());
    let reachable = scene.app.config.redis.redis_url.replace(unreachable.into());
    let isolated = scene.app.twin().await;
    scene.app.config.redis.redis_url = reachable;
    let (pair, user) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    isolated.blacklist(&pair.refresh).await.expect(200, "{}");
    isolated
        .verify(&pair.access)
        .await
        .expect(400, VERIFY_BLACKLISTED);
    scene
        .app
        .refresh(&pair.refresh)
        .await
        .expect(401, BLACKLISTED);
    isolated
        .accounts()
        .await
        .sign_out(&Username::parse("bob").unwrap())
        .await
        .unwrap();
    for dead in [pair, user] {
        for server in scene.servers() {
            eventually("the token is refused", async || {
                server.verify(&dead.access).await.status == 400
            })
            .await;
            assert!(scene.probe.redis_answers(server).await);
        }
        scene.refused(&dead).await;
    }
}

/// The operator's machine has no Redis, and its clock is wrong by four minutes or by a year.
/// Servers read the revocations from the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_by_a_command_with_a_wrong_clock_reaches_all() {
    let scene = scene().await;
    let clocks = [
        (-240_000, ["ada", "bob"]),
        (240_000, ["cleo", "dan"]),
        (-400 * 86_400_000, ["eve", "fay"]),
    ];
    for (ahead_ms, names) in clocks {
        let (ended, signed_out) = (
            scene.app.signed_in(names[0]).await,
            scene.app.signed_in(names[1]).await,
        );
        let elsewhere = scene.app.accounts_elsewhere(ahead_ms).await;
        assert_eq!(
            elsewhere
                .end_session(SessionId::parse(&sid(&ended.access)).unwrap())
                .await
                .unwrap(),
            Some(true)
        );
        elsewhere
            .sign_out(&Username::parse(names[1]).unwrap())
            .await
            .unwrap();
        for dead in [ended, signed_out] {
            for server in scene.servers() {
                eventually("the token is refused", async || {
                    server.verify(&dead.access).await.status == 400
                })
                .await;
                assert!(scene.probe.redis_answers(server).await);
            }
            scene.refused(&dead).await;
        }
    }
}

/// Redis evicts entries but keeps the cache epochs. Servers query the database for evicted entries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_evicted_entries_is_not_trusted_before_a_rebuild() {
    let scene = scene().await;
    let (dead, live) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    scene.app.blacklist(&dead.refresh).await.expect(200, "{}");
    let () = scene
        .redis
        .ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"])
        .await;
    let () = scene
        .redis
        .ask(&["CONFIG", "SET", "maxmemory", "100mb"])
        .await;
    for server in scene.servers() {
        let degraded = async || readiness(server).await == state(200, "degraded", "degraded");
        eventually("Redis is not trusted under an eviction policy", degraded).await;
    }
    let used: usize = scene.redis.info("used_memory").await.parse().unwrap();
    let () = scene
        .redis
        .ask(&[
            "CONFIG",
            "SET",
            "maxmemory",
            &(used + 1_000_000).to_string(),
        ])
        .await;
    let filler = "x".repeat(100_000);
    for number in 0..60 {
        let () = scene
            .redis
            .ask(&["SET", &format!("filler{number}"), &filler])
            .await;
    }
    eventually("Redis evicts keys", async || {
        let () = scene.redis.ask(&["SET", "filler", &filler]).await;
        let _: Option<String> = scene.redis.ask(&["GET", "filler"]).await;
        scene.refused(&dead).await;
        scene.redis.info("evicted_keys").await != "0"
    })
    .await;
    let () = scene
        .redis
        .ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"])
        .await;
    let () = scene.redis.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    scene.refused_until_trusted(&dead).await;
    scene.accepted(&live).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refresh_does_not_wait_for_redis() {
    let redis = OwnRedis::start().await;
    let flags = [
        format!("--redis-url={}", redis.url()),
        "--redis-timeout=2m".to_owned(),
    ];
    let scene = Scene::with(redis, &flags).await;
    let mut pair = scene.app.signed_in("ada").await;
    scene.redis.hang();
    // The client's timeout is shorter than that of Redis.
    for _ in 0..5 {
        pair = scene.app.refresh(&pair.refresh).await.pair();
    }
    scene.redis.go_on();
}

/// Entries of rotations are written in the background. A stopping server writes the pending ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_entry_is_written_before_a_stop() {
    let mut scene = scene().await;
    let pair = scene.app.signed_in("ada").await;
    scene.app.refresh(&pair.refresh).await.pair();
    scene.app.stop();
    let keys: Vec<String> = scene.redis.ask(&["KEYS", "*:s:*"]).await;
    assert_eq!(keys.len(), 1);
    assert_eq!(scene.redis.ask::<String>(&["GET", &keys[0]]).await, "1");
}

/// A revocation was committed, but the database's response was lost: the client got 503, and no
/// entry was written. A later request on the same instance finds the session revoked. From then on
/// every instance must refuse it. The old date hides the row from the janitor, which would
/// otherwise write the entry within a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reported_revocation_holds_on_every_server() {
    let scene = scene().await;
    let mut pairs = Vec::new();
    for name in ["ada", "bob", "cleo", "dan", "eve", "fay", "gus", "hal"] {
        pairs.push(scene.app.signed_in(name).await);
        scene.accepted(&pairs[pairs.len() - 1]).await;
    }
    let (client, connection) = tokio_postgres::connect(&scene.database, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let end = "UPDATE sessions SET revoked_at = '2000-01-01', revoked_reason = 'logged_out' FROM users \
               WHERE users.id = user_id AND username < 'e'; \
               UPDATE users SET session_epoch = session_epoch + 1, epoch_raised_at = '2000-01-01' WHERE username > 'e'";
    client.batch_execute(end).await.unwrap();
    for chunk in pairs.chunks(4) {
        scene
            .app
            .blacklist(&chunk[0].refresh)
            .await
            .expect(401, BLACKLISTED);
        scene
            .app
            .refresh(&chunk[1].refresh)
            .await
            .expect(401, BLACKLISTED);
        scene
            .app
            .verify(&chunk[2].refresh)
            .await
            .expect(400, VERIFY_BLACKLISTED);
        assert_eq!(
            scene
                .app
                .me(&format!("Bearer {}", chunk[3].access))
                .await
                .status,
            401
        );
        for pair in chunk {
            scene
                .twin
                .verify(&pair.access)
                .await
                .expect(400, VERIFY_BLACKLISTED);
            scene.refused(pair).await;
        }
    }
}

/// One Redis response was late, so the instance backs off for a second. It still writes log-outs to
/// Redis, because the other instance noticed nothing and trusts Redis.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_out_during_redis_backoff_holds_on_the_other_instance() {
    let redis = OwnRedis::start().await;
    let flags = [
        format!("--redis-url={}", redis.url()),
        "--redis-timeout=1s".to_owned(),
    ];
    let scene = Scene::with(redis, &flags).await;
    let (pair, other) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    scene.redis.hang();
    scene.app.verify(&other.access).await.expect(200, "{}");
    scene.redis.go_on();
    scene.app.blacklist(&pair.refresh).await.expect(200, "{}");
    scene
        .twin
        .verify(&pair.access)
        .await
        .expect(400, VERIFY_BLACKLISTED);
    scene.refused(&pair).await;
}
