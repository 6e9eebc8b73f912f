//! Redis Cluster: lost masters, promoted replicas, moved slots, and loss of all nodes.

use super::{readiness, redis_scene::Scene, state};
use latchkey_testkit::{
    Pair,
    servers::{eventually, own::OwnCluster},
};

async fn scene() -> Scene<OwnCluster> {
    let redis = OwnCluster::start().await;
    let flags = [format!("--redis-url={}", redis.url())];
    Scene::with(redis, &flags).await
}

/// Signs in enough users that every master holds entries.
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

/// Returns the number of a master that holds an entry of a revoked session, and the entry's key.
async fn find_entry(scene: &Scene<OwnCluster>) -> (usize, String) {
    for number in 0..3 {
        let keys: Vec<String> = scene.redis.nodes[number].ask(&["KEYS", "*:s:*"]).await;
        if let Some(key) = keys.into_iter().next() {
            return (number, key);
        }
    }
    panic!("no master holds an entry");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_is_discovered_and_holds_entries_on_every_master() {
    let scene = scene().await;
    let (dead, live) = (many(&scene, "dead").await, many(&scene, "live").await);
    log_out(&scene, &dead).await;
    for pair in &dead {
        scene.refused(pair).await;
    }
    for pair in &live {
        scene.accepted(pair).await;
    }
    assert!(scene.trusted().await);
    assert_eq!(readiness(&scene.app).await, state(200, "ok", "ok"));
    let mut epochs = 0;
    for node in &scene.redis.nodes[..3] {
        let held = node.ask::<Vec<String>>(&["KEYS", "*:epoch"]).await.len();
        assert!(held > 0, "a master holds no cache epoch");
        epochs += held;
    }
    assert_eq!(epochs, 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promoted_replica_that_missed_a_log_out_lets_no_dead_token_in() {
    let mut scene = scene().await;
    let (dead, live) = (many(&scene, "dead").await, many(&scene, "live").await);
    for node in &scene.redis.nodes[..3] {
        node.cut_replicas_off().await;
    }
    log_out(&scene, &dead).await;
    let (number, key) = find_entry(&scene).await;
    assert!(
        scene.redis.nodes[number + 3]
            .ask::<Vec<String>>(&["KEYS", &key])
            .await
            .is_empty()
    );
    scene.redis.nodes[number].kill();
    let is_promoted = async || scene.redis.nodes[number + 3].info("role").await == "master";
    scene
        .correct_until(&dead, &live[0], "the replica is promoted", is_promoted)
        .await;
    scene
        .correct_until(&dead, &live[1], "the cluster is trusted", async || {
            scene.trusted().await
        })
        .await;
    let entries: Vec<String> = scene.redis.nodes[number + 3]
        .ask(&["KEYS", &format!("*{}", &key[key.len() - 32..])])
        .await;
    assert_eq!(entries.len(), 1, "the entry was written to the new master");

    // The old master restarts and replicates the new one.
    scene.redis.nodes[number].again().await;
    scene
        .correct_until(
            &dead,
            &live[2],
            "the cluster is trusted after the restart",
            async || {
                scene.redis.nodes[number].info("role").await == "slave" && scene.trusted().await
            },
        )
        .await;
}

/// Moves the slot of an entry, with its keys, to another master. Requests during the move get
/// correct responses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moved_slot_is_followed() {
    let scene = scene().await;
    let (dead, live) = (many(&scene, "dead").await, many(&scene, "live").await);
    log_out(&scene, &dead).await;
    let (from, key) = find_entry(&scene).await;
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
        .correct_until(
            &dead,
            &live[1],
            "the slot is found on its new master",
            async || scene.trusted().await,
        )
        .await;
    let () = target.ask(&["CLUSTER", "KEYSLOT", &key]).await;
    assert_eq!(target.ask::<i64>(&["EXISTS", &key]).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_cluster_leaves_the_database_and_is_rebuilt_on_return() {
    let mut scene = scene().await;
    let (dead, live) = (many(&scene, "dead").await, many(&scene, "live").await);
    log_out(&scene, &dead[..4]).await;
    for node in &mut scene.redis.nodes {
        node.kill();
    }
    log_out(&scene, &dead[4..]).await;
    let mut rounds = 0;
    scene
        .correct_until(&dead, &live[0], "the database answers", async || {
            rounds += 1;
            rounds == 5
        })
        .await;
    eventually("readiness reports Redis as down", async || {
        readiness(&scene.app).await == state(200, "degraded", "down")
    })
    .await;
    for node in &mut scene.redis.nodes {
        node.again().await;
    }
    scene
        .correct_until(&dead, &live[1], "the cluster is trusted", async || {
            scene.trusted().await
        })
        .await;
    assert_eq!(readiness(&scene.app).await, state(200, "ok", "ok"));
}

/// A master hangs until its replica is promoted, and then continues.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hung_master_that_was_replaced_is_not_trusted_on_return() {
    let scene = scene().await;
    let (dead, live) = (many(&scene, "dead").await, many(&scene, "live").await);
    log_out(&scene, &dead[..4]).await;
    let (number, _) = find_entry(&scene).await;
    scene.redis.nodes[number].hang();
    let is_promoted = async || scene.redis.nodes[number + 3].info("role").await == "master";
    scene
        .correct_until(&dead[..4], &live[0], "the replica is promoted", is_promoted)
        .await;
    log_out(&scene, &dead[4..]).await;
    scene.redis.nodes[number].go_on();
    let follows =
        async || scene.redis.nodes[number].info("role").await == "slave" && scene.trusted().await;
    scene
        .correct_until(
            &dead,
            &live[1],
            "it replicates the new master, and the cluster is trusted",
            follows,
        )
        .await;
}
