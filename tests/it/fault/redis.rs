//! Redis is gone, hung, emptied, or back with an old memory: slower, and just as right.

use std::time::{Duration, Instant};

use latchkey::domain::{ids::SessionId, username::Username};

use super::{BLACKLISTED, PASSWORD, REFUSED, is, ready, redis_scene::Scene};
use crate::support::{
    servers::{self, eventually, own::OwnRedis},
    sid,
};

async fn scene() -> Scene<OwnRedis> {
    let redis = OwnRedis::start().await;
    let flags = [format!("--redis-url={}", redis.url())];
    Scene::with(redis, &flags).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_every_answer_is_as_right_and_readiness_says_degraded() {
    let mut scene = scene().await;
    let dead = scene.app.signed_in("ada").await;
    let live = scene.app.signed_in("bob").await;
    scene.app.blacklist(&dead.refresh).await.expect(200, "{}");
    assert_eq!(ready(&scene.app).await, is(200, "ok", "ok"));

    scene.redis.kill();
    scene.refused(&dead).await;
    scene.accepted(&live).await;
    assert!(!scene.probe.redis_answers(&scene.app).await);
    assert_eq!(ready(&scene.app).await, is(200, "degraded", "down"));
    let next = scene.twin.refresh(&live.refresh).await.pair();
    scene.app.blacklist(&next.refresh).await.expect(200, "{}");
    scene.refused(&next).await;
    let new = scene.app.obtain("bob", PASSWORD).await.pair();
    scene.accepted(&new).await;

    scene.redis.again().await;
    scene.refused_until_believed(&dead).await;
    scene.refused(&next).await;
    scene.accepted(&new).await;
    eventually("ready says ok", async || {
        ready(&scene.app).await == is(200, "ok", "ok")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_revoked_stays_revoked_when_redis_is_emptied() {
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
        scene.refused_until_believed(&logged_out).await;
        for server in scene.servers() {
            server
                .verify(&deactivated.access)
                .await
                .expect(400, REFUSED);
        }
    }
}

/// It had saved itself before the log-out, was dead during it, and came back as it had been.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_out_that_redis_slept_through_holds_on_both_servers_when_it_wakes_with_its_old_memory()
 {
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
    scene.refused_until_believed(&during).await;
    scene.refused(&before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_costs_little_time_and_no_right_answer() {
    let scene = scene().await;
    let (dead, live) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    scene.app.blacklist(&dead.refresh).await.expect(200, "{}");
    scene.redis.hang();
    let started = Instant::now();
    for _ in 0..20 {
        scene.app.verify(&live.access).await.expect(200, "{}");
        scene.app.verify(&dead.access).await.expect(400, REFUSED);
    }
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?} for forty requests",
        started.elapsed()
    );
    let next = scene.app.refresh(&live.refresh).await.pair();
    scene.app.blacklist(&next.refresh).await.expect(200, "{}");
    scene.refused(&next).await;
    scene.redis.go_on();
    scene.refused_until_believed(&next).await;
    scene.refused(&dead).await;
}

/// What it does not take is in the database, and the other server hears of it within a round of the janitor's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_takes_no_writes_loses_no_revocation() {
    let scene = scene().await;
    let pair = scene.app.signed_in("ada").await;
    let () = scene
        .redis
        .ask(&["CONFIG", "SET", "min-replicas-to-write", "1"])
        .await;
    scene.app.blacklist(&pair.refresh).await.expect(200, "{}");
    scene.app.verify(&pair.access).await.expect(400, REFUSED);
    eventually("the twin has heard", async || {
        scene.twin.verify(&pair.access).await.status == 400
    })
    .await;
    let () = scene
        .redis
        .ask(&["CONFIG", "SET", "min-replicas-to-write", "0"])
        .await;
    scene.refused_until_believed(&pair).await;
}

/// The one instance cannot reach Redis, the other can: it hears of the log-out from the database, within a moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_out_on_an_instance_that_is_cut_off_from_redis_reaches_the_others() {
    let mut scene = scene().await;
    let nowhere = format!("redis://127.0.0.1:{}", servers::own::free_port());
    let reachable = scene.app.config.redis.redis_url.replace(nowhere.into());
    let cut = scene.app.twin().await;
    scene.app.config.redis.redis_url = reachable;
    let (pair, user) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    cut.blacklist(&pair.refresh).await.expect(200, "{}");
    cut.verify(&pair.access).await.expect(400, REFUSED);
    scene
        .app
        .refresh(&pair.refresh)
        .await
        .expect(401, BLACKLISTED);
    cut.accounts()
        .await
        .sign_out(&Username::parse("bob").unwrap())
        .await
        .unwrap();
    for dead in [pair, user] {
        for server in scene.servers() {
            eventually("it is heard of", async || {
                server.verify(&dead.access).await.status == 400
            })
            .await;
            assert!(scene.probe.redis_answers(server).await);
        }
        scene.refused(&dead).await;
    }
}

/// An operator's machine without Redis, whose clock is four minutes off or was never set. `verify` learns of the
/// revocations from the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_by_a_command_with_a_wrong_clock_reaches_every_server() {
    let scene = scene().await;
    let clocks = [
        (-240_000, ["ada", "bob"]),
        (240_000, ["cleo", "dan"]),
        (-400 * 86_400_000, ["eve", "fay"]),
    ];
    for (ahead_ms, names) in clocks {
        let (ended, cut_off) = (
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
        for dead in [ended, cut_off] {
            for server in scene.servers() {
                eventually("it is heard of", async || {
                    server.verify(&dead.access).await.status == 400
                })
                .await;
                assert!(scene.probe.redis_answers(server).await);
            }
            scene.refused(&dead).await;
        }
    }
}

/// It throws marks away, and the epochs stay: what was thrown away is looked for in the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_threw_marks_away_is_not_believed_before_it_was_filled_again() {
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
        let degraded = async || ready(server).await == is(200, "degraded", "degraded");
        eventually("it is not believed while it evicts", degraded).await;
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
    eventually("the mark is gone", async || {
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
    scene.refused_until_believed(&dead).await;
    scene.accepted(&live).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_never_waits_for_redis() {
    let redis = OwnRedis::start().await;
    let flags = [
        format!("--redis-url={}", redis.url()),
        "--redis-timeout=3s".to_owned(),
    ];
    let scene = Scene::with(redis, &flags).await;
    let mut pair = scene.app.signed_in("ada").await;
    scene.redis.hang();
    let started = Instant::now();
    for _ in 0..5 {
        pair = scene.app.refresh(&pair.refresh).await.pair();
    }
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?} for five refreshes",
        started.elapsed()
    );
    scene.redis.go_on();
}

/// Marks of rotations are written in the background, and those that wait when the server stops are written, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_leaves_its_mark_even_right_before_a_stop() {
    let mut scene = scene().await;
    let pair = scene.app.signed_in("ada").await;
    scene.app.refresh(&pair.refresh).await.pair();
    scene.app.stop();
    let keys: Vec<String> = scene.redis.ask(&["KEYS", "*:s:*"]).await;
    assert_eq!(keys.len(), 1);
    assert_eq!(scene.redis.ask::<String>(&["GET", &keys[0]]).await, "1");
}

/// It was committed, and its answer from the database was lost: 503, and no mark. The client asks again, or for something
/// else, and hears that the session is over. The date keeps it from the janitor, who would write the mark within a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hears_that_a_session_is_over_can_rely_on_it_at_every_server() {
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
    for four in pairs.chunks(4) {
        scene
            .app
            .blacklist(&four[0].refresh)
            .await
            .expect(401, BLACKLISTED);
        scene
            .app
            .refresh(&four[1].refresh)
            .await
            .expect(401, BLACKLISTED);
        scene
            .app
            .verify(&four[2].refresh)
            .await
            .expect(400, REFUSED);
        assert_eq!(
            scene
                .app
                .me(&format!("Bearer {}", four[3].access))
                .await
                .status,
            401
        );
        for pair in four {
            scene.twin.verify(&pair.access).await.expect(400, REFUSED);
            scene.refused(pair).await;
        }
    }
}

/// One answer of Redis was late, so the instance leaves it alone for a second. Its log-outs are told to Redis all the same:
/// the other instance has seen nothing, and goes on believing it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_out_on_an_instance_that_rests_from_redis_holds_on_the_other_at_once() {
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
    scene.twin.verify(&pair.access).await.expect(400, REFUSED);
    scene.refused(&pair).await;
}
