//! What the blacklist must do when Redis loses something, or is not what it was.

use latchkey::ports::{Blacklist as _, BlacklistStatus, CacheState, Lookup};

use super::blacklist::{Filled, HOUR, needs_rebuild, open, rebuild};
use crate::support::servers::{eventually, own::OwnRedis};

/// It saved, then marks were written, then it died: what comes back has the epoch, but not the marks.
#[tokio::test]
async fn a_redis_that_comes_back_with_an_old_memory_is_not_believed() {
    let mut it = Filled::start().await;
    let () = it.redis.ask(&["SAVE"]).await;
    it.write(it.revoked(), HOUR).await;
    it.redis.kill();
    it.redis.again().await;
    assert!(it.keys("*:s:*").await.is_empty() && !it.keys("*:epoch").await.is_empty());
    assert_eq!(it.check().await, Lookup::Unknown);
    it.rested().await;
    assert_eq!(it.check().await, Lookup::Unknown);
    assert!(
        needs_rebuild(&it.blacklist).await.unwrap(),
        "it is another memory"
    );
    assert!(rebuild(&it.blacklist).await);
    assert_eq!(it.check().await, Lookup::Clear);
}

#[tokio::test]
async fn a_connection_that_broke_without_a_loss_is_believed_again_without_a_rebuild() {
    let it = Filled::start().await;
    let _: i64 = it
        .redis
        .ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
        .await;
    assert_eq!(it.check().await, Lookup::Unknown);
    it.rested().await;
    assert!(!needs_rebuild(&it.blacklist).await.unwrap());
    assert_eq!(it.check().await, Lookup::Clear);
}

/// The limit and the policy were there for less than a second, so nobody saw them.
#[tokio::test]
async fn what_was_thrown_away_between_two_looks_is_noticed() {
    let it = Filled::start().await;
    it.write(it.revoked(), HOUR).await;
    assert!(!needs_rebuild(&it.blacklist).await.unwrap());
    // Epochs are kept here, so that only the count of evicted keys shows the loss.
    for key in it.keys("*:epoch").await {
        let _: i64 = it.redis.ask(&["PERSIST", &key]).await;
    }
    let used: usize = it.redis.info("used_memory").await.parse().unwrap();
    let filler = "x".repeat(100_000);
    for (name, value) in [
        ("maxmemory-policy", "volatile-lru"),
        ("maxmemory", &(used + 300_000).to_string()),
    ] {
        let () = it.redis.ask(&["CONFIG", "SET", name, value]).await;
    }
    for number in 0..20 {
        let _ = it
            .redis
            .try_ask(&["SET", &format!("filler{number}"), &filler, "EX", "1000"])
            .await;
    }
    for (name, value) in [("maxmemory", "0"), ("maxmemory-policy", "noeviction")] {
        let () = it.redis.ask(&["CONFIG", "SET", name, value]).await;
    }
    assert_ne!(it.redis.info("evicted_keys").await, "0");
    assert_eq!(
        it.keys("*:epoch").await.len(),
        16,
        "only what has an end was thrown away"
    );
    assert!(needs_rebuild(&it.blacklist).await.unwrap());
    assert!(rebuild(&it.blacklist).await);
    assert!(!needs_rebuild(&it.blacklist).await.unwrap());
}

/// After a connection failed, a look alone is not enough: what was revoked meanwhile must be written first.
#[tokio::test]
async fn a_look_alone_restores_no_belief() {
    let it = Filled::start().await;
    let _: i64 = it
        .redis
        .ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
        .await;
    assert_eq!(it.check().await, Lookup::Unknown);
    eventually("the connection has rested", async || {
        it.blacklist.probe().await.is_ok()
    })
    .await;
    let look = it.blacklist.probe().await.unwrap();
    assert_eq!(
        (look.state, it.check().await),
        (CacheState::Current, Lookup::Unknown)
    );
    it.blacklist.trust(&look);
    assert_eq!(it.check().await, Lookup::Clear);
}

#[tokio::test]
async fn a_mark_that_nobody_relies_on_or_that_is_written_again_may_fail() {
    let it = Filled::start().await;
    let () = it
        .redis
        .ask(&["CONFIG", "SET", "min-replicas-to-write", "1"])
        .await;
    it.blacklist
        .write_best_effort(&[(it.rotated(1), HOUR)])
        .await
        .unwrap_err();
    let () = it
        .redis
        .ask(&["CONFIG", "SET", "min-replicas-to-write", "0"])
        .await;
    it.rested().await;
    assert!(!needs_rebuild(&it.blacklist).await.unwrap());
    assert_eq!(it.check().await, Lookup::Clear);
}

/// A command of an operator writes, and never looks.
#[tokio::test]
async fn a_process_that_only_writes_finds_the_server_too() {
    let it = Filled::start().await;
    it.another().write(&[(it.cut_off(9), HOUR)]).await.unwrap();
    assert_eq!(it.check().await, Lookup::StaleEpoch);
}

#[tokio::test]
async fn its_status_tells_reachable_from_believed() {
    let mut it = Filled::start().await;
    let told = |status: BlacklistStatus| (status.reachable, status.trusted, status.rebuilds);
    assert_eq!(told(it.another().status()), (false, false, 0));
    assert_eq!(told(it.blacklist.status()), (true, true, 1));
    let before = it.blacklist.status().failures;
    it.redis.kill();
    assert_eq!(it.check().await, Lookup::Unknown);
    assert_eq!(told(it.blacklist.status()), (false, false, 1));
    assert_eq!(it.blacklist.status().failures, before + 1);
    it.redis.again().await;
    eventually("the connection has rested", async || {
        it.blacklist.probe().await.is_ok()
    })
    .await;
    assert_eq!(told(it.blacklist.status()), (true, false, 1));
    assert!(rebuild(&it.blacklist).await);
    assert_eq!(told(it.blacklist.status()), (true, true, 2));
}

/// A URL that leads to a replica, as after a fail-over that nobody told the settings of.
#[tokio::test]
async fn a_replica_is_never_believed() {
    let it = Filled::start().await;
    let replica = OwnRedis::start_with(&["--repl-diskless-sync-delay", "0"]).await;
    let () = replica
        .ask(&["REPLICAOF", "127.0.0.1", &it.redis.port.to_string()])
        .await;
    let blacklist = open(&replica);
    let error = blacklist.probe().await.unwrap_err().to_string();
    assert!(
        error.ends_with("is a replica, and takes no marks"),
        "{error}"
    );
    assert_eq!(blacklist.check(&it.token(None)).await, Lookup::Unknown);
}
