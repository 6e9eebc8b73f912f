//! Tests of an address that leads to another server, while the previous server and its connections
//! remain alive: a virtual address, a host name, a load balancer. A worker's connection and the
//! shared one may then lead to different servers.

use std::sync::atomic::{AtomicUsize, Ordering};

use latchkey_domain::ports::{Blacklist as _, Lookup};

use super::blacklist::{Connections, Filled, HOUR, needs_rebuild, rebuild};
use latchkey_testkit::{
    Proxy,
    servers::{eventually, own::OwnRedis},
};

/// Numbers of the shared connection and of this thread's own. The first connection (0) queried the
/// kind of server.
const SHARED: usize = 1;
const OWN: usize = 2;

/// Promotes the replica and points the proxy to it.
async fn promote(it: &Filled, proxy: &Proxy, other: &OwnRedis) {
    assert_eq!(it.check().await, Lookup::Clear);
    eventually("the epochs have arrived", async || {
        !epochs(other).await.is_empty()
    })
    .await;
    let () = other.ask(&["REPLICAOF", "NO", "ONE"]).await;
    proxy.move_to(other.port);
}

async fn epochs(redis: &OwnRedis) -> Vec<String> {
    redis.ask(&["KEYS", "*:epoch"]).await
}

async fn entries(redis: &OwnRedis) -> usize {
    redis.ask::<Vec<String>>(&["KEYS", "*:s:*"]).await.len()
}

#[tokio::test]
async fn write_to_another_server_than_the_probed_one_fails() {
    let (it, proxy, other) = Filled::behind_proxy().await;
    promote(&it, &proxy, &other).await;
    proxy.cut();
    it.blacklist
        .write(&[(it.revoked(), HOUR)])
        .await
        .unwrap_err();
    assert_eq!(
        (it.blacklist.status().trusted, entries(&other).await),
        (false, 0)
    );
    assert_followed(&it, &other).await;
}

#[tokio::test]
async fn worker_on_a_new_server_uses_the_shared_connection() {
    let (it, proxy, other) = Filled::behind_proxy().await;
    promote(&it, &proxy, &other).await;
    // The shared connection still leads to the first server, which is trusted.
    proxy.cut_one(OWN);
    assert_eq!(it.check().await, Lookup::Unknown);
    assert!(!needs_rebuild(&it.blacklist).await.unwrap());
    it.write(it.revoked(), HOUR).await;
    assert_eq!(
        (
            it.check().await,
            entries(&it.redis).await,
            entries(&other).await
        ),
        (Lookup::Revoked, 1, 0)
    );
    // After its back-off, the thread connects to the second server, and the next probe follows.
    eventually("the change of the address is detected", async || {
        it.check().await == Lookup::Unknown
    })
    .await;
    assert!(!it.blacklist.status().trusted);
    assert_followed(&it, &other).await;
}

/// Waits until probes have found the other server, and checks that entries are written to it.
async fn assert_followed(it: &Filled, other: &OwnRedis) {
    eventually("the shared connection has followed", async || {
        rebuild_if_needed(it).await
    })
    .await;
    it.reconnected().await;
    it.write(it.revoked(), HOUR).await;
    assert_eq!(
        (it.check().await, entries(other).await),
        (Lookup::Revoked, 1)
    );
}

/// Frequent lookups, as with many clients, must not delay the probe.
#[tokio::test]
async fn restarted_server_is_trusted_soon_under_frequent_lookups() {
    let mut it = Filled::start(Connections::Worker).await;
    it.redis.kill();
    it.redis.again().await;
    let count = AtomicUsize::new(0);
    let lookups = async {
        loop {
            it.check().await;
            count.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    };
    let probes = eventually("the blacklist is trusted", async || {
        rebuild_if_needed(&it).await && it.blacklist.status().trusted
    });
    tokio::select! {
        () = lookups => {}
        () = probes => {}
    }
    assert!(count.load(Ordering::Relaxed) > 0);
}

async fn rebuild_if_needed(it: &Filled) -> bool {
    match needs_rebuild(&it.blacklist).await {
        Ok(true) => it.blacklist.start_rebuild().await.is_ok() && rebuild(&it.blacklist).await,
        Ok(false) => true,
        Err(_) => false,
    }
}

#[tokio::test]
async fn late_reply_of_the_previous_server_is_not_trusted() {
    let (it, proxy, other) = Filled::behind_proxy().await;
    promote(&it, &proxy, &other).await;
    // The shared connection breaks. This thread queries the first server, whose reply is delayed.
    proxy.cut_one(SHARED);
    it.blacklist.probe().await.unwrap_err();
    proxy.hold_answers_so_far();
    let late = it.check();
    let meanwhile = async {
        eventually("the lookup has arrived", async || proxy.holds()).await;
        let key = it.revoked();
        eventually("the other server is trusted", async || {
            rebuild_if_needed(&it).await && it.blacklist.status().trusted
        })
        .await;
        it.blacklist.write(&[(key, HOUR)]).await.unwrap();
        assert_eq!(entries(&other).await, 1);
        proxy.go_on();
    };
    let (late, ()) = tokio::join!(late, meanwhile);
    assert_eq!(late, Lookup::Unknown);
    assert_eq!(it.check().await, Lookup::Revoked);
}

#[tokio::test]
async fn demoted_master_is_left_for_the_new_server() {
    let (it, proxy, other) = Filled::behind_proxy().await;
    promote(&it, &proxy, &other).await;
    let () = it
        .redis
        .ask(&["REPLICAOF", "127.0.0.1", &other.port.to_string()])
        .await;
    it.blacklist.probe().await.unwrap_err();
    eventually("the other server is found", async || {
        rebuild_if_needed(&it).await
    })
    .await;
    it.reconnected().await;
    it.write(it.revoked(), HOUR).await;
    assert_eq!(entries(&other).await, 1);
}

#[tokio::test]
async fn dead_idle_connection_is_found_by_a_probe() {
    let (it, proxy, _) = Filled::behind_proxy().await;
    assert_eq!(it.check().await, Lookup::Clear);
    let before = it.blacklist.status().failures;
    proxy.cut_one(OWN);
    eventually("the dead connection is found", async || {
        it.blacklist.probe().await.unwrap();
        it.blacklist.status().failures == before + 1
    })
    .await;
    assert!(!needs_rebuild(&it.blacklist).await.unwrap());
    it.reconnected().await;
    assert_eq!(
        (it.check().await, it.blacklist.status().failures),
        (Lookup::Clear, before + 1)
    );
}
