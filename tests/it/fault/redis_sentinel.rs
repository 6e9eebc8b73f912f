//! Redis behind Sentinels: the master goes, and another takes over.

use super::{PASSWORD, REFUSED, is, ready, redis_scene::Scene};
use crate::support::servers::{eventually, own::OwnSentinel};

async fn scene() -> Scene<OwnSentinel> {
    let redis = OwnSentinel::start().await;
    let flags = [
        format!("--redis-url={}", OwnSentinel::url()),
        format!("--redis-sentinels={}", redis.sentinel_url()),
        "--access-token-lifetime=1h".to_owned(),
    ];
    Scene::with(redis, &flags).await
}

/// What was revoked before is not among what is written again every second. That is seen by what an instance without
/// Redis revokes: of two that are heard of one after the other, the first belongs to a round that is over.
async fn forget_what_was_lately(scene: &Scene<OwnSentinel>) {
    scene.app.advance(600);
    let apart = scene
        .app
        .twin_with(|config| (config.redis.redis_url, config.redis.redis_sentinels) = (None, None))
        .await;
    for name in ["first", "second"] {
        let pair = apart.signed_in(name).await;
        apart.blacklist(&pair.refresh).await.expect(200, "{}");
        for server in scene.servers() {
            eventually("it is heard of", async || {
                server.verify(&pair.access).await.status == 400
            })
            .await;
        }
    }
}

/// The replica has the epoch, and lacks the last log-outs: whoever believed it would let a dead token in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_had_not_heard_of_a_log_out_takes_over_and_lets_nobody_in() {
    let mut scene = scene().await;
    let (before, after) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    let live = scene.app.signed_in("eve").await;
    scene.app.blacklist(&before.refresh).await.expect(200, "{}");
    let marks = async |scene: &Scene<OwnSentinel>| -> usize {
        scene
            .redis
            .replica
            .ask::<Vec<String>>(&["KEYS", "*:s:*"])
            .await
            .len()
    };
    eventually("the replica has heard of the first", async || {
        marks(&scene).await == 1
    })
    .await;

    scene.redis.master.cut_replicas_off().await;
    scene.app.blacklist(&after.refresh).await.expect(200, "{}");
    forget_what_was_lately(&scene).await;
    scene.redis.master.kill();
    let dead = [before, after];
    let is_promoted = async || scene.redis.replica.info("role").await == "master";
    scene
        .right_until(&dead, &live, "the replica is promoted", is_promoted)
        .await;
    assert_eq!(
        scene
            .redis
            .replica
            .ask::<Vec<String>>(&["KEYS", "*:epoch"])
            .await
            .len(),
        16,
        "it was filled once"
    );
    scene
        .right_until(&dead, &live, "the new master is believed", async || {
            scene.believed().await
        })
        .await;
    scene
        .right_until(&dead, &live, "and it is well", async || {
            ready(&scene.app).await == is(200, "ok", "ok")
        })
        .await;
    assert!(marks(&scene).await >= 4, "it was told of the second");

    let next = scene.twin.refresh(&live.refresh).await.pair();
    scene.twin.blacklist(&next.refresh).await.expect(200, "{}");
    scene.refused(&next).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_sentinels_are_gone_the_master_stays_where_it_was() {
    let mut scene = scene().await;
    let (dead, live) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    scene.redis.kill_sentinel();
    scene.app.blacklist(&dead.refresh).await.expect(200, "{}");
    let mut looks = 0;
    scene
        .right_until(&[dead], &live, "it is believed all the while", async || {
            assert!(scene.believed().await);
            looks += 1;
            looks == 60
        })
        .await;
    // A server that starts now cannot find it, and answers all the same.
    let late = scene.app.twin().await;
    late.verify(&live.access).await.expect(200, "{}");
    assert_eq!(ready(&late).await, is(200, "degraded", "down"));
}

/// As when the Sentinel moves it for maintenance: nobody dies, and the old master follows the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_moved_on_purpose_is_followed() {
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
        .right_until(&dead, &live, "the replica is the master", moved)
        .await;
    let follows =
        async || scene.redis.master.info("role").await == "slave" && scene.believed().await;
    scene
        .right_until(&dead, &live, "the old master follows it", follows)
        .await;
    let next = scene.app.refresh(&live.refresh).await.pair();
    scene.app.blacklist(&next.refresh).await.expect(200, "{}");
    scene.refused(&next).await;
}

/// The old master takes marks and answers for seconds yet: neither who left it last nor who left it first may miss what
/// the other is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_while_the_master_is_moved_is_refused_by_who_has_not_heard_of_the_move() {
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
    eventually("all are revoked, and the master has moved", async || {
        if let Some(pair) = pairs.get(revoked) {
            scene.servers()[revoked % 2]
                .blacklist(&pair.refresh)
                .await
                .expect(200, "{}");
            for server in scene.servers() {
                server.verify(&pair.access).await.expect(400, REFUSED);
            }
            revoked += 1;
        }
        revoked == pairs.len()
            && scene.redis.replica.info("role").await == "master"
            && scene.believed().await
    })
    .await;
}
