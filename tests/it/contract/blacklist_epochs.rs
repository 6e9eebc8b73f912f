//! The owner of Redis' memory, and the time for which it is trusted.

use chrono::TimeDelta;
use latchkey::{
    ports::{Blacklist as _, CacheState, Lookup, blacklist::MARGIN},
    store::redis::RedisBlacklist,
};

use super::blacklist::{DEPLOYMENT, Filled, HOUR, needs_rebuild, open_as, rebuild};
use crate::support::servers::own::OwnRedis;

/// The maximum life of an epoch, in milliseconds.
const LIFE: i64 = 60_000;

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

/// Returns the shortest and the longest life of the epochs.
async fn lives(it: &Filled) -> (i64, i64) {
    let mut lives = Vec::new();
    for key in it.keys("*:epoch").await {
        lives.push(it.redis.ask::<i64>(&["PTTL", &key]).await);
    }
    (*lives.iter().min().unwrap(), *lives.iter().max().unwrap())
}

fn stranger(it: &Filled) -> RedisBlacklist {
    open_as("fedcba9876543210", &it.redis.url())
}

#[tokio::test]
async fn a_memory_that_another_deployment_filled_is_neither_trusted_nor_taken() {
    let it = Filled::start().await;
    it.write(it.revoked(), HOUR).await;
    let other = stranger(&it);
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
        "the mark is gone, and the foreign epoch is there"
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
        "to the other deployment it is its own"
    );

    let () = it.redis.ask(&["FLUSHALL"]).await;
    assert!(
        needs_rebuild(&it.blacklist).await.unwrap() && rebuild(&it.blacklist).await,
        "the foreign epoch has ended"
    );
    assert!(!needs_rebuild(&it.blacklist).await.unwrap());
    assert_eq!(it.blacklist.warnings(), Vec::<String>::new());
}

/// A backup that was restored beside its original: both have the same id, but different revocations.
#[tokio::test]
async fn a_memory_that_a_copy_of_the_database_filled_is_lost() {
    let it = Filled::start().await;
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
        "they share the memory from now on"
    );
}

#[tokio::test]
async fn an_epoch_of_an_earlier_version_is_not_trusted_and_replaced() {
    let it = Filled::start().await;
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
    assert!(lives(&it).await.0 > 0, "it has an end from now on");
    assert_eq!(it.check().await, Lookup::Clear);
}

#[tokio::test]
async fn an_epoch_without_a_readable_name_is_foreign() {
    let it = Filled::start().await;
    for strange in ["", "2", "0123456789abcdef0:x", "\u{1f511}"] {
        set_epochs(&it, strange).await;
        assert_eq!(it.check().await, Lookup::Unknown, "{strange:?}");
        assert_eq!(
            it.blacklist.probe().await.unwrap().state,
            CacheState::Foreign,
            "{strange:?}"
        );
    }
}

#[tokio::test]
async fn an_epoch_lives_for_less_than_the_margin_of_entries() {
    let it = Filled::start().await;
    let (shortest, longest) = lives(&it).await;
    assert!(
        shortest > 0 && longest <= LIFE && LIFE < MARGIN.num_milliseconds(),
        "{shortest} {longest}"
    );
}

#[tokio::test]
async fn an_epoch_is_renewed_only_by_looks_of_instances_that_trust_it() {
    let it = Filled::start().await;
    shorten_epochs(&it, "10000").await;
    let never_filled = it.another();
    assert_eq!(
        never_filled.probe().await.unwrap().state,
        CacheState::Unknown
    );
    assert_eq!(
        stranger(&it).probe().await.unwrap().state,
        CacheState::Foreign
    );
    assert!(lives(&it).await.1 <= 10_000);
    assert!(!needs_rebuild(&it.blacklist).await.unwrap());
    assert!(lives(&it).await.0 > 50_000);
    set_epochs(&it, "fedcba9876543210:x").await;
    it.blacklist.probe().await.unwrap();
    assert_eq!(lives(&it).await, (-1, -1), "a foreign epoch is not renewed");
}

#[tokio::test]
async fn without_looks_an_epoch_ends_and_only_a_rebuild_brings_trust_back() {
    let it = Filled::start().await;
    shorten_epochs(&it, "0").await;
    assert_eq!(it.check().await, Lookup::Unknown);
    assert_eq!(
        it.blacklist.probe().await.unwrap().state,
        CacheState::Unknown
    );
    assert!(rebuild(&it.blacklist).await);
    assert_eq!(it.check().await, Lookup::Clear);
}

#[tokio::test]
async fn a_jump_of_redis_clock_beyond_an_epoch_revives_no_token() {
    let it = on_own_clock().await;
    it.write(it.revoked(), HOUR).await;
    it.redis.jump(2 * 3600);
    assert!(
        it.keys("*:s:*").await.is_empty(),
        "the mark has ended before its token"
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

/// The epoch survives each of them, but no entry survives all of them.
#[tokio::test]
async fn jumps_of_redis_clock_that_an_epoch_survives_are_seen_by_the_next_look() {
    let it = on_own_clock().await;
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

/// One instance has noticed the jump, the other has not. For the other one, the epoch must end.
#[tokio::test]
async fn a_look_that_sees_a_jump_of_redis_clock_renews_no_epoch() {
    let it = on_own_clock().await;
    let ticket = it.blacklist.start_rebuild().await.unwrap();
    let other = it.another();
    assert!(rebuild(&other).await);
    it.redis.jump(40);
    it.blacklist.probe().await.unwrap();
    assert!(lives(&it).await.1 <= 20_000, "by the look");
    assert!(
        !it.blacklist.finish_rebuild(ticket).await.unwrap(),
        "the rebuild began before the jump"
    );
    assert!(lives(&it).await.1 <= 20_000, "by the seal");
    assert_eq!(
        other.check(&it.token(None)).await,
        Lookup::Clear,
        "it has not looked, and nothing has ended"
    );
    it.redis.jump(80);
    assert_eq!(other.check(&it.token(None)).await, Lookup::Unknown);
}

#[tokio::test]
async fn a_clock_of_redis_that_is_slightly_off_is_no_jump() {
    let it = on_own_clock().await;
    for clock in [2, -2] {
        it.redis.jump(clock);
        assert!(!needs_rebuild(&it.blacklist).await.unwrap());
        assert_eq!(it.check().await, Lookup::Clear);
    }
}

async fn on_own_clock() -> Filled {
    Filled::on(OwnRedis::with_own_clock().await).await
}

#[tokio::test]
async fn a_mark_keeps_its_whole_life_when_it_is_written_again_after_a_jump() {
    let it = on_own_clock().await;
    it.write(it.revoked(), HOUR).await;
    it.redis.jump(3000);
    it.write(it.revoked(), HOUR).await;
    assert!(it.life("*:s:*").await > (HOUR - TimeDelta::seconds(10)).num_milliseconds());
}
