//! Tests of the trust in the blacklist: missing entries prove nothing until a rebuild succeeds.

use latchkey_crypto::random;
use latchkey_domain::ports::{Blacklist as _, Lookup, TokenRef};

use super::blacklist::{Filled, HOUR, needs_rebuild, rebuild};

on_both_connections! {
    async fn process_without_a_rebuild_trusts_entries_only(connections: Connections) {
        let it = Filled::start(connections).await;
        let other = it.another();
        assert!(needs_rebuild(&other).await.unwrap());
        assert_eq!(other.check(&it.token(None)).await, Lookup::Unknown);
        it.write(it.revoked(), HOUR).await;
        assert_eq!(other.check(&it.token(None)).await, Lookup::Revoked);
    }

    async fn lost_cache_is_detected_by_the_lookup_and_rebuilt(connections: Connections) {
        let it = Filled::start(connections).await;
        it.write(it.revoked(), HOUR).await;
        assert!(!needs_rebuild(&it.blacklist).await.unwrap());
        let () = it.redis.ask(&["FLUSHALL"]).await;
        assert_eq!(it.check().await, Lookup::Unknown);
        assert!(needs_rebuild(&it.blacklist).await.unwrap());
        assert!(rebuild(&it.blacklist).await);
        assert!(!needs_rebuild(&it.blacklist).await.unwrap());
        assert_eq!(it.check().await, Lookup::Clear);
    }

    async fn rebuild_that_lost_entries_is_not_trusted(connections: Connections) {
        let it = Filled::start(connections).await;
        let ticket = it.blacklist.start_rebuild().await.unwrap();
        it.write(it.rotated(1), HOUR).await;
        let () = it.redis.ask(&["FLUSHALL"]).await;
        assert!(!it.blacklist.finish_rebuild(ticket).await.unwrap());
        assert_eq!(it.check().await, Lookup::Unknown);
        assert!(needs_rebuild(&it.blacklist).await.unwrap());
    }

    async fn concurrent_rebuilds_both_succeed(connections: Connections) {
        let it = Filled::start(connections).await;
        let () = it.redis.ask(&["FLUSHALL"]).await;
        let other = it.another();
        let first = it.blacklist.start_rebuild().await.unwrap();
        let second = other.start_rebuild().await.unwrap();
        assert!(it.blacklist.finish_rebuild(first).await.unwrap());
        assert!(other.finish_rebuild(second).await.unwrap());
        assert_eq!(it.check().await, Lookup::Clear);
        assert_eq!(other.check(&it.token(None)).await, Lookup::Clear);
        assert!(it.keys("*building*").await.is_empty());
    }

    async fn failed_write_needs_a_rebuild_that_starts_later(connections: Connections) {
        let it = Filled::start(connections).await;
        let early_ticket = it.blacklist.start_rebuild().await.unwrap();
        let () = it
            .redis
            .ask(&["CONFIG", "SET", "min-replicas-to-write", "1"])
            .await;
        it.blacklist
            .write(&[(it.revoked(), HOUR)])
            .await
            .unwrap_err();
        let () = it
            .redis
            .ask(&["CONFIG", "SET", "min-replicas-to-write", "0"])
            .await;
        assert_eq!(it.check().await, Lookup::Unknown);
        it.reconnected().await;
        assert_eq!(it.check().await, Lookup::Unknown);
        assert!(needs_rebuild(&it.blacklist).await.unwrap());
        it.blacklist.finish_rebuild(early_ticket).await.unwrap();
        assert_eq!(
            it.check().await,
            Lookup::Unknown,
            "the rebuild may have read the database before the revocation"
        );
        assert!(rebuild(&it.blacklist).await);
        assert_eq!(it.check().await, Lookup::Clear);
    }

    async fn malformed_entry_is_unknown(connections: Connections) {
        let it = Filled::start(connections).await;
        for entry in [it.rotated(1), it.stale_epoch(1)] {
            it.write(entry, HOUR).await;
        }
        for pattern in ["*:s:*", "*:u:*"] {
            let key = it.keys(pattern).await.remove(0);
            for value in [
                "",
                "-1",
                "1e3",
                "0x7f",
                "nan",
                "REVOKED",
                "99999999999999999999",
            ] {
                let () = it.redis.ask(&["SET", &key, value]).await;
                assert_eq!(it.check().await, Lookup::Unknown, "{value:?}");
                it.write(
                    if pattern == "*:s:*" {
                        it.rotated(2)
                    } else {
                        it.stale_epoch(2)
                    },
                    HOUR,
                )
                .await;
                assert_eq!(
                    it.check().await,
                    Lookup::Unknown,
                    "{value:?} was overwritten"
                );
            }
            let () = it.redis.ask(&["SET", &key, "1"]).await;
        }
        let () = it
            .redis
            .ask(&["SET", &it.keys("*:s:*").await[0], "strange"])
            .await;
        it.write(it.revoked(), HOUR).await;
        assert_eq!(it.check().await, Lookup::Revoked);
    }

    async fn evicting_redis_is_never_trusted_and_reported(connections: Connections) {
        let it = Filled::start(connections).await;
        assert_eq!(it.blacklist.warnings(), Vec::<String>::new());
        let () = it
            .redis
            .ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"])
            .await;
        assert!(!needs_rebuild(&it.blacklist).await.unwrap());
        assert_eq!(
            it.check().await,
            Lookup::Clear,
            "without a memory limit nothing is evicted"
        );
        let () = it.redis.ask(&["CONFIG", "SET", "maxmemory", "100mb"]).await;
        needs_rebuild(&it.blacklist).await.unwrap();
        assert_eq!(it.check().await, Lookup::Unknown);
        assert!(it.blacklist.warnings()[0].contains("allkeys-lru"));
        it.write(it.revoked(), HOUR).await;
        assert_eq!(
            it.check().await,
            Lookup::Revoked,
            "an entry that is found is honoured"
        );

        let () = it
            .redis
            .ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"])
            .await;
        assert!(
            needs_rebuild(&it.blacklist).await.unwrap(),
            "evicted entries are unknown"
        );
        assert_eq!(it.check_refresh(0).await, Lookup::Revoked);
        let other = TokenRef {
            session: random::session_id(),
            ..it.token(None)
        };
        assert_eq!(it.blacklist.check(&other).await, Lookup::Unknown);
        assert!(rebuild(&it.blacklist).await);
        assert_eq!(it.blacklist.check(&other).await, Lookup::Clear);
    }
}
