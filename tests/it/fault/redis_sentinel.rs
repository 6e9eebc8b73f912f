//! Redis behind Sentinel: fail-over of the master, and loss of the Sentinel.

use super::{PASSWORD, VERIFY_BLACKLISTED, readiness, redis_scene::Scene, state};
use latchkey_testkit::servers::{eventually, own::OwnSentinel};

async fn scene() -> Scene<OwnSentinel> {
    let redis = OwnSentinel::start().await;
    let flags = [
        format!("--redis-url={}", OwnSentinel::url()),
        format!("--redis-sentinels={}", redis.sentinel_url()),
        "--access-token-lifetime=1h".to_owned(),
    ];
    Scene::with(redis, &flags).await
}

/// Advances the clock until earlier revocations are no longer among the entries that the janitor
/// replays every second. An instance without Redis then revokes two sessions in turn. After the
/// second one is refused, the round of the first has ended.
async fn wait_until_replay_has_passed(scene: &Scene<OwnSentinel>) {
    scene.app.advance(600);
    let without_redis = scene
        .app
        .twin_with(|config| (config.redis.redis_url, config.redis.redis_sentinels) = (None, None))
        .await;
    for name in ["first", "second"] {
        let pair = without_redis.signed_in(name).await;
        without_redis
            .blacklist(&pair.refresh)
            .await
            .expect(200, "{}");
        for server in scene.servers() {
            eventually("the token is refused", async || {
                server.verify(&pair.access).await.status == 400
            })
            .await;
        }
    }
}

/// The replica has the cache epoch but lacks the last log-outs. A server that trusts it accepts a
/// dead token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promoted_replica_that_missed_a_log_out_lets_no_dead_token_in() {
    let mut scene = scene().await;
    let (before, after) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    let live = scene.app.signed_in("eve").await;
    scene.app.blacklist(&before.refresh).await.expect(200, "{}");
    let entries = async |scene: &Scene<OwnSentinel>| -> usize {
        scene
            .redis
            .replica
            .ask::<Vec<String>>(&["KEYS", "*:s:*"])
            .await
            .len()
    };
    eventually("the replica has the first log-out", async || {
        entries(&scene).await == 1
    })
    .await;

    scene.redis.master.cut_replicas_off().await;
    scene.app.blacklist(&after.refresh).await.expect(200, "{}");
    wait_until_replay_has_passed(&scene).await;
    scene.redis.master.kill();
    let dead = [before, after];
    let is_promoted = async || scene.redis.replica.info("role").await == "master";
    scene
        .correct_until(&dead, &live, "the replica is promoted", is_promoted)
        .await;
    assert_eq!(
        scene
            .redis
            .replica
            .ask::<Vec<String>>(&["KEYS", "*:epoch"])
            .await
            .len(),
        16,
        "the cache was rebuilt once"
    );
    scene
        .correct_until(&dead, &live, "the new master is trusted", async || {
            scene.trusted().await
        })
        .await;
    scene
        .correct_until(&dead, &live, "readiness is ok", async || {
            readiness(&scene.app).await == state(200, "ok", "ok")
        })
        .await;
    assert!(
        entries(&scene).await >= 4,
        "the new master has the second log-out"
    );

    let next = scene.twin.refresh(&live.refresh).await.pair();
    scene.twin.blacklist(&next.refresh).await.expect(200, "{}");
    scene.refused(&next).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_sentinel_keeps_the_known_master() {
    let mut scene = scene().await;
    let (dead, live) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    scene.redis.kill_sentinel();
    scene.app.blacklist(&dead.refresh).await.expect(200, "{}");
    let mut rounds = 0;
    scene
        .correct_until(&[dead], &live, "the master stays trusted", async || {
            assert!(scene.trusted().await);
            rounds += 1;
            rounds == 60
        })
        .await;
    // A server that starts now cannot find the master, but still responds.
    let late = scene.app.twin().await;
    late.verify(&live.access).await.expect(200, "{}");
    assert_eq!(readiness(&late).await, state(200, "degraded", "down"));
}

/// A planned fail-over, such as for maintenance. The old master replicates the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planned_failover_is_followed() {
    let scene = scene().await;
    let (dead, live) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    scene.app.blacklist(&dead.refresh).await.expect(200, "{}");
    scene.redis.fail_over().await;
    let dead = [dead];
    let moved = async || scene.redis.replica.info("role").await == "master";
    scene
        .correct_until(&dead, &live, "the replica is the master", moved)
        .await;
    let follows =
        async || scene.redis.master.info("role").await == "slave" && scene.trusted().await;
    scene
        .correct_until(&dead, &live, "the old master is its replica", follows)
        .await;
    let next = scene.app.refresh(&live.refresh).await.pair();
    scene.app.blacklist(&next.refresh).await.expect(200, "{}");
    scene.refused(&next).await;
}

/// The old master accepts entries and answers lookups for some seconds. Neither the first server to
/// switch nor the last may miss entries that the other one writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocations_during_a_failover_hold_on_every_server() {
    let scene = scene().await;
    let mut pairs = Vec::new();
    for name in ["ada", "bob", "cleo", "dan"] {
        scene.app.user(name).await;
        for _ in 0..25 {
            pairs.push(scene.app.obtain(name, PASSWORD).await.pair());
        }
    }
    scene.redis.fail_over().await;
    let mut revoked = 0;
    eventually(
        "all sessions are revoked, and the fail-over is complete",
        async || {
            if let Some(pair) = pairs.get(revoked) {
                scene.servers()[revoked % 2]
                    .blacklist(&pair.refresh)
                    .await
                    .expect(200, "{}");
                for server in scene.servers() {
                    server
                        .verify(&pair.access)
                        .await
                        .expect(400, VERIFY_BLACKLISTED);
                }
                revoked += 1;
            }
            revoked == pairs.len()
                && scene.redis.replica.info("role").await == "master"
                && scene.trusted().await
        },
    )
    .await;
}
