//! The contract of `Blacklist`, on a Redis of the test's own.

use std::time::Duration;

use chrono::TimeDelta;
use latchkey::{
    crypto::random,
    domain::ids::{DeploymentId, SessionId, UserId},
    ports::{Blacklist as _, BlacklistEntry, CacheState, Lookup, StoreError, TokenRef},
    store::redis::{RedisBlacklist, RedisOptions},
};

use crate::support::{
    Proxy,
    servers::{eventually, own::OwnRedis},
};

pub(super) const HOUR: TimeDelta = TimeDelta::hours(1);

/// A Redis and a blacklist that was filled: with nothing.
pub(super) struct Filled {
    pub(super) redis: OwnRedis,
    pub(super) blacklist: RedisBlacklist,
    pub(super) user: UserId,
    pub(super) session: SessionId,
}

impl Filled {
    pub(super) async fn start() -> Self {
        Self::on(OwnRedis::start().await).await
    }

    pub(super) async fn on(redis: OwnRedis) -> Self {
        let blacklist = open(&redis);
        Self::with(redis, blacklist).await
    }

    /// Through a door that may lead elsewhere later: to the server's replica.
    pub(super) async fn behind_a_door() -> (Self, Proxy, OwnRedis) {
        let redis = OwnRedis::start().await;
        let replica = OwnRedis::start_with(&["--repl-diskless-sync-delay", "0"]).await;
        let () = replica
            .ask(&["REPLICAOF", "127.0.0.1", &redis.port.to_string()])
            .await;
        eventually("it is copied", async || {
            replica.info("master_link_status").await == "up"
        })
        .await;
        let door = Proxy::to(redis.port);
        let blacklist = open_as(DEPLOYMENT, &format!("redis://{}", door.address));
        (Self::with(redis, blacklist).await, door, replica)
    }

    async fn with(redis: OwnRedis, blacklist: RedisBlacklist) -> Self {
        assert!(rebuild(&blacklist).await);
        Self {
            redis,
            blacklist,
            user: random::user_id(),
            session: random::session_id(),
        }
    }

    pub(super) fn token(&self, generation: Option<u32>) -> TokenRef {
        TokenRef {
            session: self.session,
            user: self.user.clone(),
            session_epoch: 3,
            generation,
        }
    }

    pub(super) async fn check(&self) -> Lookup {
        self.blacklist.check(&self.token(None)).await
    }

    pub(super) async fn check_refresh(&self, generation: u32) -> Lookup {
        self.blacklist.check(&self.token(Some(generation))).await
    }

    pub(super) fn cut_off(&self, version: u32) -> BlacklistEntry {
        BlacklistEntry::SessionEpoch {
            user: self.user.clone(),
            session_epoch: version,
        }
    }

    pub(super) fn revoked(&self) -> BlacklistEntry {
        BlacklistEntry::SessionRevoked {
            session: self.session,
            user: self.user.clone(),
        }
    }

    pub(super) fn rotated(&self, generation: u32) -> BlacklistEntry {
        BlacklistEntry::GenerationRotated {
            session: self.session,
            user: self.user.clone(),
            generation,
        }
    }

    /// Waits until both the connection of whoever looks and that of this thread have rested after a failure.
    pub(super) async fn rested(&self) {
        let elsewhere = [(
            BlacklistEntry::SessionEpoch {
                user: UserId::new("nobody"),
                session_epoch: 0,
            },
            TimeDelta::milliseconds(1),
        )];
        eventually("the connections have rested", async || {
            needs_rebuild(&self.blacklist).await.is_ok()
                && self.blacklist.write_best_effort(&elsewhere).await.is_ok()
        })
        .await;
    }

    pub(super) async fn write(&self, mark: BlacklistEntry, ttl: TimeDelta) {
        self.blacklist.write(&[(mark, ttl)]).await.unwrap();
    }

    pub(super) async fn keys(&self, pattern: &str) -> Vec<String> {
        self.redis.ask(&["KEYS", pattern]).await
    }

    pub(super) async fn life(&self, pattern: &str) -> i64 {
        self.redis
            .ask(&["PTTL", &self.keys(pattern).await[0]])
            .await
    }

    /// Another process.
    pub(super) fn another(&self) -> RedisBlacklist {
        open(&self.redis)
    }
}

/// The deployment of these tests, unless another one is named.
pub(super) const DEPLOYMENT: &str = "0123456789abcdef";

pub(super) fn open(redis: &OwnRedis) -> RedisBlacklist {
    open_as(DEPLOYMENT, &redis.url())
}

pub(super) fn open_as(deployment: &str, url: &str) -> RedisBlacklist {
    let options = RedisOptions {
        url: url.parse().unwrap(),
        sentinels: None,
        root_certificate: None,
        prefix: "test".to_owned(),
        timeout: Duration::from_secs(2),
    };
    RedisBlacklist::open(&options, DeploymentId::new(deployment), random::jti()).unwrap()
}

/// What the janitor does first: whether all is lost. If not, and nothing is to be written again, absence is believed.
pub(super) async fn needs_rebuild(blacklist: &RedisBlacklist) -> Result<bool, StoreError> {
    let look = blacklist.probe().await?;
    if look.state == CacheState::Current {
        blacklist.trust(&look);
    }
    Ok(look.state != CacheState::Current)
}

pub(super) async fn rebuild(blacklist: &RedisBlacklist) -> bool {
    let ticket = blacklist.start_rebuild().await.unwrap();
    blacklist.finish_rebuild(ticket).await.unwrap()
}

#[tokio::test]
async fn without_marks_a_token_is_clear_and_with_one_it_is_not() {
    let it = Filled::start().await;
    assert_eq!(
        (it.check().await, it.check_refresh(0).await),
        (Lookup::Clear, Lookup::Clear)
    );
    it.write(it.rotated(2), HOUR).await;
    assert_eq!(
        it.check().await,
        Lookup::Clear,
        "access tokens outlive a rotation"
    );
    assert_eq!(
        (it.check_refresh(1).await, it.check_refresh(2).await),
        (Lookup::Spent, Lookup::Clear)
    );
    it.write(it.cut_off(3), HOUR).await;
    assert_eq!(it.check().await, Lookup::Clear);
    it.write(it.cut_off(4), HOUR).await;
    assert_eq!(
        (it.check().await, it.check_refresh(2).await),
        (Lookup::StaleEpoch, Lookup::StaleEpoch)
    );
    it.write(it.revoked(), HOUR).await;
    assert_eq!(
        (it.check().await, it.check_refresh(9).await),
        (Lookup::Revoked, Lookup::Revoked)
    );
}

#[tokio::test]
async fn a_mark_speaks_of_its_own_session_and_its_own_user_only() {
    let it = Filled::start().await;
    it.write(it.revoked(), HOUR).await;
    let other = TokenRef {
        session: random::session_id(),
        ..it.token(Some(0))
    };
    assert_eq!(it.blacklist.check(&other).await, Lookup::Clear);
    it.write(it.cut_off(9), HOUR).await;
    let other = TokenRef {
        user: random::user_id(),
        session: random::session_id(),
        ..it.token(None)
    };
    assert_eq!(it.blacklist.check(&other).await, Lookup::Clear);
}

#[tokio::test]
async fn marks_only_move_forward_whatever_the_order() {
    let it = Filled::start().await;
    for generation in [10, 9, 2] {
        it.write(it.rotated(generation), HOUR).await;
        assert_eq!(
            (it.check_refresh(9).await, it.check_refresh(10).await),
            (Lookup::Spent, Lookup::Clear)
        );
    }
    for version in [5, 4, 1] {
        it.write(it.cut_off(version), HOUR).await;
        assert_eq!(it.check().await, Lookup::StaleEpoch);
    }
    it.write(it.revoked(), HOUR).await;
    it.write(it.rotated(u32::MAX), HOUR).await;
    assert_eq!(it.check_refresh(u32::MAX).await, Lookup::Revoked);
}

#[tokio::test]
async fn a_mark_lives_as_long_as_the_longest_that_was_asked_for() {
    let it = Filled::start().await;
    let near = |life: i64, wanted: TimeDelta| {
        let wanted = wanted.num_milliseconds();
        assert!(
            (wanted - 10_000..=wanted).contains(&life),
            "{life} is not {wanted}"
        );
    };
    it.write(it.rotated(1), HOUR).await;
    near(it.life("*:s:*").await, HOUR);
    it.write(it.rotated(2), TimeDelta::minutes(1)).await;
    near(it.life("*:s:*").await, HOUR);
    it.write(it.revoked(), TimeDelta::minutes(1)).await;
    near(it.life("*:s:*").await, HOUR);
    it.write(it.rotated(3), HOUR * 2).await;
    near(it.life("*:s:*").await, HOUR * 2);
    it.write(it.cut_off(1), TimeDelta::milliseconds(-5)).await;
    eventually("a mark without a life goes", async || {
        it.keys("*:u:*").await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn many_marks_of_many_users_are_written_at_once() {
    let it = Filled::start().await;
    let users: Vec<UserId> = (0..300).map(|_| random::user_id()).collect();
    let marks: Vec<_> = users
        .iter()
        .map(|user| {
            (
                BlacklistEntry::SessionEpoch {
                    user: user.clone(),
                    session_epoch: 4,
                },
                HOUR,
            )
        })
        .collect();
    it.blacklist.write(&marks).await.unwrap();
    it.blacklist.write(&[]).await.unwrap();
    for user in users {
        let token = TokenRef {
            user,
            ..it.token(None)
        };
        assert_eq!(it.blacklist.check(&token).await, Lookup::StaleEpoch);
    }
}

#[tokio::test]
async fn a_process_that_was_never_filled_believes_marks_but_not_their_absence() {
    let it = Filled::start().await;
    let other = it.another();
    assert!(needs_rebuild(&other).await.unwrap());
    assert_eq!(other.check(&it.token(None)).await, Lookup::Unknown);
    it.write(it.revoked(), HOUR).await;
    assert_eq!(other.check(&it.token(None)).await, Lookup::Revoked);
}

#[tokio::test]
async fn a_lost_memory_is_noticed_by_the_same_look_and_healed_by_a_rebuild() {
    let it = Filled::start().await;
    it.write(it.revoked(), HOUR).await;
    assert!(!needs_rebuild(&it.blacklist).await.unwrap());
    let () = it.redis.ask(&["FLUSHALL"]).await;
    assert_eq!(it.check().await, Lookup::Unknown);
    assert!(needs_rebuild(&it.blacklist).await.unwrap());
    assert!(rebuild(&it.blacklist).await);
    assert!(!needs_rebuild(&it.blacklist).await.unwrap());
    assert_eq!(it.check().await, Lookup::Clear);
}

#[tokio::test]
async fn a_rebuild_whose_memory_was_lost_half_way_is_not_believed() {
    let it = Filled::start().await;
    let ticket = it.blacklist.start_rebuild().await.unwrap();
    it.write(it.rotated(1), HOUR).await;
    let () = it.redis.ask(&["FLUSHALL"]).await;
    assert!(!it.blacklist.finish_rebuild(ticket).await.unwrap());
    assert_eq!(it.check().await, Lookup::Unknown);
    assert!(needs_rebuild(&it.blacklist).await.unwrap());
}

#[tokio::test]
async fn two_processes_that_rebuild_at_once_are_not_in_each_others_way() {
    let it = Filled::start().await;
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

#[tokio::test]
async fn after_a_write_that_failed_nothing_is_clear_until_a_rebuild_that_began_later() {
    let it = Filled::start().await;
    let begun_before = it.blacklist.start_rebuild().await.unwrap();
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
    it.rested().await;
    assert_eq!(it.check().await, Lookup::Unknown);
    assert!(needs_rebuild(&it.blacklist).await.unwrap());
    it.blacklist.finish_rebuild(begun_before).await.unwrap();
    assert_eq!(
        it.check().await,
        Lookup::Unknown,
        "that rebuild may have read before the revocation"
    );
    assert!(rebuild(&it.blacklist).await);
    assert_eq!(it.check().await, Lookup::Clear);
}

#[tokio::test]
async fn a_mark_that_cannot_be_read_is_neither_believed_nor_taken_for_none() {
    let it = Filled::start().await;
    for mark in [it.rotated(1), it.cut_off(1)] {
        it.write(mark, HOUR).await;
    }
    for pattern in ["*:s:*", "*:u:*"] {
        let key = it.keys(pattern).await.remove(0);
        for strange in [
            "",
            "-1",
            "1e3",
            "0x7f",
            "nan",
            "REVOKED",
            "99999999999999999999",
        ] {
            let () = it.redis.ask(&["SET", &key, strange]).await;
            assert_eq!(it.check().await, Lookup::Unknown, "{strange:?}");
            it.write(
                if pattern == "*:s:*" {
                    it.rotated(2)
                } else {
                    it.cut_off(2)
                },
                HOUR,
            )
            .await;
            assert_eq!(
                it.check().await,
                Lookup::Unknown,
                "{strange:?} was written over"
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

#[tokio::test]
async fn a_redis_that_throws_keys_away_is_never_clear_and_says_so() {
    let it = Filled::start().await;
    assert_eq!(it.blacklist.warnings(), Vec::<String>::new());
    let () = it
        .redis
        .ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"])
        .await;
    assert!(!needs_rebuild(&it.blacklist).await.unwrap());
    assert_eq!(
        it.check().await,
        Lookup::Clear,
        "without a limit nothing is thrown away"
    );
    let () = it.redis.ask(&["CONFIG", "SET", "maxmemory", "100mb"]).await;
    needs_rebuild(&it.blacklist).await.unwrap();
    assert_eq!(it.check().await, Lookup::Unknown);
    assert!(it.blacklist.warnings()[0].contains("allkeys-lru"));
    it.write(it.revoked(), HOUR).await;
    assert_eq!(
        it.check().await,
        Lookup::Revoked,
        "what is there is believed"
    );

    let () = it
        .redis
        .ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"])
        .await;
    assert!(
        needs_rebuild(&it.blacklist).await.unwrap(),
        "nobody knows what was thrown away"
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

#[tokio::test]
async fn a_check_is_one_mget_and_nothing_else() {
    let it = Filled::start().await;
    let () = it.redis.ask(&["CONFIG", "RESETSTAT"]).await;
    for generation in 0..5 {
        assert_eq!(it.check_refresh(generation).await, Lookup::Clear);
    }
    let stats: String = it.redis.ask(&["INFO", "commandstats"]).await;
    assert!(stats.contains("cmdstat_mget:calls=5,"), "{stats}");
    for other in ["get", "evalsha", "exists", "pttl"] {
        assert!(!stats.contains(&format!("cmdstat_{other}:")), "{stats}");
    }
}

#[tokio::test]
async fn all_keys_of_a_check_are_in_one_slot_of_a_cluster() {
    let it = Filled::start().await;
    it.write(it.revoked(), HOUR).await;
    it.write(it.cut_off(1), HOUR).await;
    let tag = |key: &str| key[key.find('{').unwrap()..=key.find('}').unwrap()].to_owned();
    let (session, user) = (
        it.keys("*:s:*").await.remove(0),
        it.keys("*:u:*").await.remove(0),
    );
    assert_eq!(tag(&session), tag(&user));
    assert!(
        it.keys("*:epoch")
            .await
            .iter()
            .any(|epoch| tag(epoch) == tag(&user))
    );
}
