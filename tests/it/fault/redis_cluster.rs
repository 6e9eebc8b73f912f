//! A cluster: masters go, replicas take over, slots move, all are gone.

use super::{is, ready, redis_scene::Scene};
use crate::support::{
    Pair,
    servers::{eventually, own::OwnCluster},
};

async fn scene() -> Scene<OwnCluster> {
    let redis = OwnCluster::start().await;
    let flags = [format!("--redis-url={}", redis.url())];
    Scene::with(redis, &flags).await
}

/// Users enough that every master holds marks of some.
async fn many(scene: &Scene<OwnCluster>, name: &str) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for number in 0..8 {
        pairs.push(scene.app.signed_in(&format!("{name}{number}")).await);
    }
    pairs
}

async fn log_out(scene: &Scene<OwnCluster>, pairs: &[Pair]) {
    for pair in pairs {
        scene.app.blacklist(&pair.refresh).await.expect(200, "{}");
    }
}

/// The number of the master that holds the mark of a dead session, and the mark's key.
async fn holder(scene: &Scene<OwnCluster>) -> (usize, String) {
    for number in 0..3 {
        let keys: Vec<String> = scene.redis.nodes[number].ask(&["KEYS", "*:s:*"]).await;
        if let Some(key) = keys.into_iter().next() {
            return (number, key);
        }
    }
    panic!("nobody holds a mark");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_found_by_itself_and_holds_marks_on_every_master() {
    let scene = scene().await;
    let (dead, live) = (many(&scene, "dead").await, many(&scene, "live").await);
    log_out(&scene, &dead).await;
    for pair in &dead {
        scene.refused(pair).await;
    }
    for pair in &live {
        scene.accepted(pair).await;
    }
    assert!(scene.believed().await);
    assert_eq!(ready(&scene.app).await, is(200, "ok", "ok"));
    let mut epochs = 0;
    for node in &scene.redis.nodes[..3] {
        let held = node.ask::<Vec<String>>(&["KEYS", "*:epoch"]).await.len();
        assert!(held > 0, "one holds nothing");
        epochs += held;
    }
    assert_eq!(epochs, 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_had_not_heard_of_a_log_out_takes_over_and_lets_nobody_in() {
    let mut scene = scene().await;
    let (dead, live) = (many(&scene, "dead").await, many(&scene, "live").await);
    for node in &scene.redis.nodes[..3] {
        node.cut_replicas_off().await;
    }
    log_out(&scene, &dead).await;
    let (number, key) = holder(&scene).await;
    assert!(
        scene.redis.nodes[number + 3]
            .ask::<Vec<String>>(&["KEYS", &key])
            .await
            .is_empty()
    );
    scene.redis.nodes[number].kill();
    let is_promoted = async || scene.redis.nodes[number + 3].info("role").await == "master";
    scene
        .right_until(&dead, &live[0], "the replica is promoted", is_promoted)
        .await;
    scene
        .right_until(&dead, &live[1], "the cluster is believed", async || {
            scene.believed().await
        })
        .await;
    let marks: Vec<String> = scene.redis.nodes[number + 3]
        .ask(&["KEYS", &format!("*{}", &key[key.len() - 32..])])
        .await;
    assert_eq!(marks.len(), 1, "it was told");

    // The old master comes back and follows.
    scene.redis.nodes[number].again().await;
    scene
        .right_until(&dead, &live[2], "and stays so", async || {
            scene.redis.nodes[number].info("role").await == "slave" && scene.believed().await
        })
        .await;
}

/// One slot after the other goes to another master, with its keys; requests that meet it on its way are right, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_is_followed() {
    let scene = scene().await;
    let (dead, live) = (many(&scene, "dead").await, many(&scene, "live").await);
    log_out(&scene, &dead).await;
    let (from, key) = holder(&scene).await;
    let to = (from + 1) % 3;
    let (source, target) = (&scene.redis.nodes[from], &scene.redis.nodes[to]);
    let slot = target
        .ask::<i64>(&["CLUSTER", "KEYSLOT", &key])
        .await
        .to_string();
    let (source_id, target_id): (String, String) = (
        source.ask(&["CLUSTER", "MYID"]).await,
        target.ask(&["CLUSTER", "MYID"]).await,
    );
    let () = target
        .ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source_id])
        .await;
    let () = source
        .ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target_id])
        .await;
    let port = target.port.to_string();
    loop {
        let keys: Vec<String> = source.ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "1"]).await;
        let Some(key) = keys.first() else { break };
        let _: redis::Value = source
            .ask(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"])
            .await;
        for pair in &dead {
            scene.refused(pair).await;
        }
        scene.accepted(&live[0]).await;
    }
    for node in [target, source] {
        let () = node
            .ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &target_id])
            .await;
    }
    scene
        .right_until(
            &dead,
            &live[1],
            "the slot is found at its new place",
            async || scene.believed().await,
        )
        .await;
    let () = target.ask(&["CLUSTER", "KEYSLOT", &key]).await;
    assert_eq!(target.ask::<i64>(&["EXISTS", &key]).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_node_the_database_answers_and_a_cluster_that_comes_back_empty_is_filled_again()
{
    let mut scene = scene().await;
    let (dead, live) = (many(&scene, "dead").await, many(&scene, "live").await);
    log_out(&scene, &dead[..4]).await;
    for node in &mut scene.redis.nodes {
        node.kill();
    }
    log_out(&scene, &dead[4..]).await;
    let mut looks = 0;
    scene
        .right_until(&dead, &live[0], "the database answers", async || {
            looks += 1;
            looks == 5
        })
        .await;
    eventually("ready says down", async || {
        ready(&scene.app).await == is(200, "degraded", "down")
    })
    .await;
    for node in &mut scene.redis.nodes {
        node.again().await;
    }
    scene
        .right_until(&dead, &live[1], "the cluster is believed", async || {
            scene.believed().await
        })
        .await;
    assert_eq!(ready(&scene.app).await, is(200, "ok", "ok"));
}

/// A master hangs long enough to lose its place to its replica, and then goes on as if nothing had been.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_hung_and_was_replaced_is_not_believed_when_it_goes_on() {
    let scene = scene().await;
    let (dead, live) = (many(&scene, "dead").await, many(&scene, "live").await);
    log_out(&scene, &dead[..4]).await;
    let (number, _) = holder(&scene).await;
    scene.redis.nodes[number].hang();
    let is_promoted = async || scene.redis.nodes[number + 3].info("role").await == "master";
    scene
        .right_until(&dead[..4], &live[0], "the replica is promoted", is_promoted)
        .await;
    log_out(&scene, &dead[4..]).await;
    scene.redis.nodes[number].go_on();
    let follows =
        async || scene.redis.nodes[number].info("role").await == "slave" && scene.believed().await;
    scene
        .right_until(
            &dead,
            &live[1],
            "it follows, and the cluster is believed",
            follows,
        )
        .await;
}
