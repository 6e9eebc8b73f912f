//! Tests of the cache epoch: owner, lifetime and renewal.

use chrono::TimeDelta;
use latchkey_cache::RedisBlacklist;
use latchkey_domain::ports::{Blacklist as _, CacheState, Lookup, blacklist::MARGIN};

use super::blacklist::{Connections, DEPLOYMENT, Filled, HOUR, needs_rebuild, open_as, rebuild};
use latchkey_testkit::servers::own::OwnRedis;

/// Maximum lifetime of a cache epoch in milliseconds.
const LIFETIME_MS: i64 = 60_000;

async fn epochs(it: &Filled) -> Vec<String> {
    let mut values = Vec::new();
    for key in it.keys("*:epoch").await {
        values.push(it.redis.ask(&["GET", &key]).await);
    }
    values
}

async fn set_epochs(it: &Filled, value: &str) {
    for bucket in 0..16 {
        let () = it
            .redis
            .ask(&["SET", &format!("{{test:{bucket}}}:epoch"), value])
            .await;
    }
}

async fn shorten_epochs(it: &Filled, milliseconds: &str) {
    for key in it.keys("*:epoch").await {
        let _: i64 = it.redis.ask(&["PEXPIRE", &key, milliseconds]).await;
    }
}

/// Returns the shortest and the longest remaining lifetime of the cache epochs.
async fn ttls(it: &Filled) -> (i64, i64) {
    let mut ttls = Vec::new();
    for key in it.keys("*:epoch").await {
        ttls.push(it.redis.ask::<i64>(&["PTTL", &key]).await);
    }
    (*ttls.iter().min().unwrap(), *ttls.iter().max().unwrap())
}

fn other_deployment(it: &Filled) -> RedisBlacklist {
    open_as("fedcba9876543210", &it.redis.url(), Connections::Shared)
}

async fn on_own_clock(connections: Connections) -> Filled {
    Filled::on(OwnRedis::with_own_clock().await, connections).await
}

on_both_connections! {
    async fn cache_of_another_deployment_is_neither_trusted_nor_filled(connections: Connections) {
        let it = Filled::start(connections).await;
        it.write(it.revoked(), HOUR).await;
        let other = other_deployment(&it);
        assert_eq!(other.probe().await.unwrap().state, CacheState::Foreign);
        assert!(
            !rebuild(&other).await,
            "an epoch of a live foreign deployment is not overwritten"
        );
        assert!(
            epochs(&it)
                .await
                .iter()
                .all(|epoch| epoch.starts_with(DEPLOYMENT))
        );
        assert_eq!(it.check().await, Lookup::Revoked);

        let () = it.redis.ask(&["FLUSHALL"]).await;
        assert!(rebuild(&other).await);
        assert_eq!(
            it.check().await,
            Lookup::Unknown,
            "the entry is missing, and the epoch is foreign"
        );
        assert_eq!(
            it.blacklist.probe().await.unwrap().state,
            CacheState::Foreign
        );
        let warnings = it.blacklist.warnings();
        assert!(
            warnings[0].contains("(fedcba9876543210)") && warnings[0].contains("LATCHKEY_REDIS_PREFIX"),
            "{warnings:?}"
        );
        assert!(!it.blacklist.status().trusted);
        assert_eq!(
            other.check(&it.token(None)).await,
            Lookup::Clear,
            "the other deployment trusts its own epoch"
        );

        let () = it.redis.ask(&["FLUSHALL"]).await;
        assert!(
            needs_rebuild(&it.blacklist).await.unwrap() && rebuild(&it.blacklist).await,
            "the foreign epoch has been deleted"
        );
        assert!(!needs_rebuild(&it.blacklist).await.unwrap());
        assert_eq!(it.blacklist.warnings(), Vec::<String>::new());
    }

    /// A backup restored beside its original: same deployment id, different revocations.
    async fn cache_filled_by_a_copy_of_the_database_is_not_trusted(connections: Connections) {
        let it = Filled::start(connections).await;
        it.write(it.revoked(), HOUR).await;
        let copy = it.another();
        assert!(rebuild(&copy).await);
        let () = it.redis.ask(&["FLUSHALL"]).await;
        assert!(rebuild(&copy).await);
        assert_eq!(it.check().await, Lookup::Unknown);
        assert!(needs_rebuild(&it.blacklist).await.unwrap());
        it.blacklist
            .write_best_effort(&[(it.revoked(), HOUR)])
            .await
            .unwrap();
        assert!(rebuild(&it.blacklist).await);
        assert_eq!(
            (it.check().await, copy.check(&it.token(None)).await),
            (Lookup::Revoked, Lookup::Revoked)
        );
        assert!(
            !needs_rebuild(&copy).await.unwrap(),
            "both trust the cache from now on"
        );
    }

    async fn epoch_of_an_earlier_version_is_not_trusted_but_replaced(connections: Connections) {
        let it = Filled::start(connections).await;
        set_epochs(&it, "1").await;
        assert_eq!(it.check().await, Lookup::Unknown);
        assert!(needs_rebuild(&it.blacklist).await.unwrap());
        assert_eq!(it.blacklist.warnings(), Vec::<String>::new());
        assert!(rebuild(&it.blacklist).await);
        assert!(
            epochs(&it)
                .await
                .iter()
                .all(|epoch| epoch.starts_with(DEPLOYMENT))
        );
        assert!(ttls(&it).await.0 > 0, "it expires from now on");
        assert_eq!(it.check().await, Lookup::Clear);
    }

    async fn epoch_without_a_valid_name_is_foreign(connections: Connections) {
        let it = Filled::start(connections).await;
        for value in ["", "2", "0123456789abcdef0:x", "\u{1f511}"] {
            set_epochs(&it, value).await;
            assert_eq!(it.check().await, Lookup::Unknown, "{value:?}");
            assert_eq!(
                it.blacklist.probe().await.unwrap().state,
                CacheState::Foreign,
                "{value:?}"
            );
        }
    }

    async fn epoch_lifetime_is_shorter_than_the_margin_of_entries(connections: Connections) {
        let it = Filled::start(connections).await;
        let (shortest, longest) = ttls(&it).await;
        assert!(
            shortest > 0 && longest <= LIFETIME_MS && LIFETIME_MS < MARGIN.num_milliseconds(),
            "{shortest} {longest}"
        );
    }

    async fn epoch_is_renewed_only_by_instances_that_trust_it(connections: Connections) {
        let it = Filled::start(connections).await;
        shorten_epochs(&it, "10000").await;
        let never_filled = it.another();
        assert_eq!(
            never_filled.probe().await.unwrap().state,
            CacheState::Unknown
        );
        assert_eq!(
            other_deployment(&it).probe().await.unwrap().state,
            CacheState::Foreign
        );
        assert!(ttls(&it).await.1 <= 10_000);
        assert!(!needs_rebuild(&it.blacklist).await.unwrap());
        assert!(ttls(&it).await.0 > 50_000);
        set_epochs(&it, "fedcba9876543210:x").await;
        it.blacklist.probe().await.unwrap();
        assert_eq!(ttls(&it).await, (-1, -1), "a foreign epoch is not renewed");
    }

    async fn epoch_without_probes_expires_and_needs_a_rebuild(connections: Connections) {
        let it = Filled::start(connections).await;
        shorten_epochs(&it, "0").await;
        assert_eq!(it.check().await, Lookup::Unknown);
        assert_eq!(
            it.blacklist.probe().await.unwrap().state,
            CacheState::Unknown
        );
        assert!(rebuild(&it.blacklist).await);
        assert_eq!(it.check().await, Lookup::Clear);
    }

    async fn clock_jump_beyond_the_epoch_makes_no_token_valid(connections: Connections) {
        let it = on_own_clock(connections).await;
        it.write(it.revoked(), HOUR).await;
        it.redis.jump(2 * 3600);
        assert!(
            it.keys("*:s:*").await.is_empty(),
            "the entry has expired before its token"
        );
        assert_eq!(it.check().await, Lookup::Unknown);
        assert_eq!(
            it.blacklist.probe().await.unwrap().state,
            CacheState::Unknown
        );
        assert!(rebuild(&it.blacklist).await);
        assert_eq!(
            (it.check().await, it.blacklist.status().rebuilds),
            (Lookup::Clear, 2)
        );
    }

    /// The epoch survives each jump, but no entry survives all of them.
    async fn small_clock_jump_is_detected_by_the_next_probe(connections: Connections) {
        let it = on_own_clock(connections).await;
        let mut clock = 0;
        for jump in [40, -30] {
            assert!(!needs_rebuild(&it.blacklist).await.unwrap());
            clock += jump;
            it.redis.jump(clock);
            assert_eq!(
                it.blacklist.probe().await.unwrap().state,
                CacheState::Unknown,
                "{jump}"
            );
            assert_eq!(it.check().await, Lookup::Unknown);
            assert!(rebuild(&it.blacklist).await);
            assert_eq!(it.check().await, Lookup::Clear);
        }
    }

    /// One instance has detected the jump, the other has not. The epoch must expire for the other
    /// one.
    async fn probe_after_a_clock_jump_renews_no_epoch(connections: Connections) {
        let it = on_own_clock(connections).await;
        let ticket = it.blacklist.start_rebuild().await.unwrap();
        let other = it.another();
        assert!(rebuild(&other).await);
        it.redis.jump(40);
        it.blacklist.probe().await.unwrap();
        assert!(ttls(&it).await.1 <= 20_000, "not renewed by the probe");
        assert!(
            !it.blacklist.finish_rebuild(ticket).await.unwrap(),
            "the rebuild began before the jump"
        );
        assert!(ttls(&it).await.1 <= 20_000, "not renewed by the seal");
        assert_eq!(
            other.check(&it.token(None)).await,
            Lookup::Clear,
            "no probe has run, and nothing has expired"
        );
        it.redis.jump(80);
        assert_eq!(other.check(&it.token(None)).await, Lookup::Unknown);
    }

    async fn clock_offset_within_the_tolerance_is_no_jump(connections: Connections) {
        let it = on_own_clock(connections).await;
        for clock in [2, -2] {
            it.redis.jump(clock);
            assert!(!needs_rebuild(&it.blacklist).await.unwrap());
            assert_eq!(it.check().await, Lookup::Clear);
        }
    }

    async fn entry_written_after_a_clock_jump_gets_its_full_ttl(connections: Connections) {
        let it = on_own_clock(connections).await;
        it.write(it.revoked(), HOUR).await;
        it.redis.jump(3000);
        it.write(it.revoked(), HOUR).await;
        assert!(it.ttl("*:s:*").await > (HOUR - TimeDelta::seconds(10)).num_milliseconds());
    }
}
