//! Tests of the blacklist after Redis has lost data or was replaced.

use latchkey_domain::ports::{Blacklist as _, BlacklistStatus, CacheState, Lookup};

use super::blacklist::{Filled, HOUR, needs_rebuild, open, rebuild};
use latchkey_testkit::servers::{eventually, own::OwnRedis};

on_both_connections! {
    /// Redis saved a snapshot and crashed after later entries: the restarted server has the epoch,
    /// but not the entries.
    async fn redis_restarted_from_an_old_snapshot_is_not_trusted(connections: Connections) {
        let mut it = Filled::start(connections).await;
        let () = it.redis.ask(&["SAVE"]).await;
        it.write(it.revoked(), HOUR).await;
        it.redis.kill();
        it.redis.again().await;
        assert!(it.keys("*:s:*").await.is_empty() && !it.keys("*:epoch").await.is_empty());
        assert_eq!(it.check().await, Lookup::Unknown);
        it.reconnected().await;
        assert_eq!(it.check().await, Lookup::Unknown);
        assert!(
            needs_rebuild(&it.blacklist).await.unwrap(),
            "the cache identity has changed"
        );
        assert!(rebuild(&it.blacklist).await);
        assert_eq!(it.check().await, Lookup::Clear);
    }

    async fn broken_connection_without_loss_needs_no_rebuild(connections: Connections) {
        let it = Filled::start(connections).await;
        let _: i64 = it
            .redis
            .ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
            .await;
        assert_eq!(it.check().await, Lookup::Unknown);
        it.reconnected().await;
        assert!(!needs_rebuild(&it.blacklist).await.unwrap());
        assert_eq!(it.check().await, Lookup::Clear);
    }

    /// Limit and policy were set for less than a second, between two probes.
    async fn eviction_between_two_probes_is_detected(connections: Connections) {
        let it = Filled::start(connections).await;
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
            "only keys with a TTL were evicted"
        );
        assert!(needs_rebuild(&it.blacklist).await.unwrap());
        assert!(rebuild(&it.blacklist).await);
        assert!(!needs_rebuild(&it.blacklist).await.unwrap());
    }

    /// After a failed connection, a probe alone is not enough: recent revocations must be replayed
    /// first.
    async fn probe_alone_does_not_restore_trust(connections: Connections) {
        let it = Filled::start(connections).await;
        let _: i64 = it
            .redis
            .ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
            .await;
        assert_eq!(it.check().await, Lookup::Unknown);
        eventually("the back-off is over", async || {
            it.blacklist.probe().await.is_ok()
        })
        .await;
        let probe = it.blacklist.probe().await.unwrap();
        assert_eq!(
            (probe.state, it.check().await),
            (CacheState::Current, Lookup::Unknown)
        );
        it.blacklist.trust(&probe);
        assert_eq!(it.check().await, Lookup::Clear);
    }

    async fn failed_best_effort_write_needs_no_rebuild(connections: Connections) {
        let it = Filled::start(connections).await;
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
        it.reconnected().await;
        assert!(!needs_rebuild(&it.blacklist).await.unwrap());
        assert_eq!(it.check().await, Lookup::Clear);
    }

    /// An operator's command writes, and never probes.
    async fn process_without_probes_can_write(connections: Connections) {
        let it = Filled::start(connections).await;
        it.another()
            .write(&[(it.stale_epoch(9), HOUR)])
            .await
            .unwrap();
        assert_eq!(it.check().await, Lookup::StaleEpoch);
    }

    async fn status_distinguishes_reachable_from_trusted(connections: Connections) {
        let mut it = Filled::start(connections).await;
        let summary = |status: BlacklistStatus| (status.reachable, status.trusted, status.rebuilds);
        assert_eq!(summary(it.another().status()), (false, false, 0));
        assert_eq!(summary(it.blacklist.status()), (true, true, 1));
        let before = it.blacklist.status().failures;
        it.redis.kill();
        assert_eq!(it.check().await, Lookup::Unknown);
        assert_eq!(summary(it.blacklist.status()), (false, false, 1));
        assert_eq!(it.blacklist.status().failures, before + 1);
        it.redis.again().await;
        eventually("the back-off is over", async || {
            it.blacklist.probe().await.is_ok()
        })
        .await;
        assert_eq!(summary(it.blacklist.status()), (true, false, 1));
        assert!(rebuild(&it.blacklist).await);
        assert_eq!(summary(it.blacklist.status()), (true, true, 2));
    }

    /// The URL leads to a replica, as after a fail-over without a change of the settings.
    async fn replica_is_never_trusted(connections: Connections) {
        let it = Filled::start(connections).await;
        let replica = OwnRedis::start_with(&["--repl-diskless-sync-delay", "0"]).await;
        let () = replica
            .ask(&["REPLICAOF", "127.0.0.1", &it.redis.port.to_string()])
            .await;
        let blacklist = open(&replica, connections);
        let error = blacklist.probe().await.unwrap_err().to_string();
        assert!(
            error.ends_with("is a replica and rejects writes"),
            "{error}"
        );
        assert_eq!(blacklist.check(&it.token(None)).await, Lookup::Unknown);
    }
}
