//! Contract of `Blacklist`, on a separate Redis for each test.

use std::time::Duration;

use chrono::TimeDelta;
use latchkey_cache::{RedisBlacklist, RedisOptions};
use latchkey_crypto::random;
use latchkey_domain::{
    ids::{DeploymentId, SessionId, UserId},
    ports::{Blacklist as _, BlacklistEntry, CacheState, Lookup, StoreError, TokenRef},
};

use latchkey_testkit::{
    Proxy,
    servers::{eventually, own::OwnRedis},
};

pub(super) const HOUR: TimeDelta = TimeDelta::hours(1);

/// Connections of a blacklist.
#[derive(Clone, Copy, Debug)]
pub(super) enum Connections {
    /// Connections of background tasks and of commands.
    Shared,
    /// Connections of a worker of the web server.
    Worker,
}

/// A Redis and a trusted blacklist, rebuilt from no entries.
pub(super) struct Filled {
    connections: Connections,
    pub(super) redis: OwnRedis,
    pub(super) blacklist: RedisBlacklist,
    pub(super) user: UserId,
    pub(super) session: SessionId,
}

impl Filled {
    pub(super) async fn start(connections: Connections) -> Self {
        Self::on(OwnRedis::start().await, connections).await
    }

    pub(super) async fn on(redis: OwnRedis, connections: Connections) -> Self {
        let blacklist = open(&redis, connections);
        Self::with(redis, blacklist, connections).await
    }

    /// Starts it behind a proxy, which can be pointed to the server's replica later.
    pub(super) async fn behind_proxy() -> (Self, Proxy, OwnRedis) {
        let redis = OwnRedis::start().await;
        let replica = OwnRedis::start_with(&["--repl-diskless-sync-delay", "0"]).await;
        let () = replica
            .ask(&["REPLICAOF", "127.0.0.1", &redis.port.to_string()])
            .await;
        eventually("the replica is in sync", async || {
            replica.info("master_link_status").await == "up"
        })
        .await;
        let proxy = Proxy::to(redis.port);
        let url = format!("redis://{}", proxy.address);
        let blacklist = open_as(DEPLOYMENT, &url, Connections::Worker);
        let it = Self::with(redis, blacklist, Connections::Worker).await;
        (it, proxy, replica)
    }

    async fn with(redis: OwnRedis, blacklist: RedisBlacklist, connections: Connections) -> Self {
        assert!(rebuild(&blacklist).await);
        Self {
            connections,
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

    pub(super) fn stale_epoch(&self, epoch: u32) -> BlacklistEntry {
        BlacklistEntry::SessionEpoch {
            user: self.user.clone(),
            session_epoch: epoch,
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

    /// Waits until the shared connection and this thread's own are open again after a back-off.
    pub(super) async fn reconnected(&self) {
        let unrelated = [(
            BlacklistEntry::SessionEpoch {
                user: UserId::new("unknown"),
                session_epoch: 0,
            },
            TimeDelta::milliseconds(1),
        )];
        eventually("the back-off is over", async || {
            needs_rebuild(&self.blacklist).await.is_ok()
                && self.blacklist.write_best_effort(&unrelated).await.is_ok()
        })
        .await;
    }

    pub(super) async fn write(&self, entry: BlacklistEntry, ttl: TimeDelta) {
        self.blacklist.write(&[(entry, ttl)]).await.unwrap();
    }

    pub(super) async fn keys(&self, pattern: &str) -> Vec<String> {
        self.redis.ask(&["KEYS", pattern]).await
    }

    pub(super) async fn ttl(&self, pattern: &str) -> i64 {
        self.redis
            .ask(&["PTTL", &self.keys(pattern).await[0]])
            .await
    }

    /// Opens the blacklist as another process.
    pub(super) fn another(&self) -> RedisBlacklist {
        open(&self.redis, self.connections)
    }
}

/// Deployment of these tests, unless another one is named.
pub(super) const DEPLOYMENT: &str = "0123456789abcdef";

pub(super) fn open(redis: &OwnRedis, connections: Connections) -> RedisBlacklist {
    open_as(DEPLOYMENT, &redis.url(), connections)
}

pub(super) fn open_as(deployment: &str, url: &str, connections: Connections) -> RedisBlacklist {
    let options = RedisOptions {
        url: url.parse().unwrap(),
        sentinels: None,
        root_certificate: None,
        prefix: "test".to_owned(),
        timeout: Duration::from_secs(2),
        workers: 1,
    };
    let blacklist =
        RedisBlacklist::open(&options, DeploymentId::new(deployment), random::jti()).unwrap();
    match connections {
        Connections::Shared => blacklist,
        Connections::Worker => blacklist.for_worker(),
    }
}

/// Probes like the janitor. Returns true if a rebuild is needed. Otherwise restores trust, as there
/// is nothing to replay.
pub(super) async fn needs_rebuild(blacklist: &RedisBlacklist) -> Result<bool, StoreError> {
    let probe = blacklist.probe().await?;
    if probe.state == CacheState::Current {
        blacklist.trust(&probe);
    }
    Ok(probe.state != CacheState::Current)
}

pub(super) async fn rebuild(blacklist: &RedisBlacklist) -> bool {
    let ticket = blacklist.start_rebuild().await.unwrap();
    blacklist.finish_rebuild(ticket).await.unwrap()
}

on_both_connections! {
    async fn token_is_clear_until_an_entry_refuses_it(connections: Connections) {
        let it = Filled::start(connections).await;
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
        it.write(it.stale_epoch(3), HOUR).await;
        assert_eq!(it.check().await, Lookup::Clear);
        it.write(it.stale_epoch(4), HOUR).await;
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

    async fn entry_affects_only_its_session_or_user(connections: Connections) {
        let it = Filled::start(connections).await;
        it.write(it.revoked(), HOUR).await;
        let other = TokenRef {
            session: random::session_id(),
            ..it.token(Some(0))
        };
        assert_eq!(it.blacklist.check(&other).await, Lookup::Clear);
        it.write(it.stale_epoch(9), HOUR).await;
        let other = TokenRef {
            user: random::user_id(),
            session: random::session_id(),
            ..it.token(None)
        };
        assert_eq!(it.blacklist.check(&other).await, Lookup::Clear);
    }

    async fn entries_never_decrease_in_any_order_of_writes(connections: Connections) {
        let it = Filled::start(connections).await;
        for generation in [10, 9, 2] {
            it.write(it.rotated(generation), HOUR).await;
            assert_eq!(
                (it.check_refresh(9).await, it.check_refresh(10).await),
                (Lookup::Spent, Lookup::Clear)
            );
        }
        for epoch in [5, 4, 1] {
            it.write(it.stale_epoch(epoch), HOUR).await;
            assert_eq!(it.check().await, Lookup::StaleEpoch);
        }
        it.write(it.revoked(), HOUR).await;
        it.write(it.rotated(u32::MAX), HOUR).await;
        assert_eq!(it.check_refresh(u32::MAX).await, Lookup::Revoked);
    }

    async fn entry_keeps_the_longest_requested_ttl(connections: Connections) {
        let it = Filled::start(connections).await;
        let near = |ttl: i64, expected: TimeDelta| {
            let expected = expected.num_milliseconds();
            assert!(
                (expected - 10_000..=expected).contains(&ttl),
                "ttl {ttl}, expected {expected}"
            );
        };
        it.write(it.rotated(1), HOUR).await;
        near(it.ttl("*:s:*").await, HOUR);
        it.write(it.rotated(2), TimeDelta::minutes(1)).await;
        near(it.ttl("*:s:*").await, HOUR);
        it.write(it.revoked(), TimeDelta::minutes(1)).await;
        near(it.ttl("*:s:*").await, HOUR);
        it.write(it.rotated(3), HOUR * 2).await;
        near(it.ttl("*:s:*").await, HOUR * 2);
        it.write(it.stale_epoch(1), TimeDelta::milliseconds(-5))
            .await;
        eventually("an entry without a lifetime expires", async || {
            it.keys("*:u:*").await.is_empty()
        })
        .await;
    }

    async fn entries_of_many_users_are_written_in_one_call(connections: Connections) {
        let it = Filled::start(connections).await;
        let users: Vec<UserId> = (0..300).map(|_| random::user_id()).collect();
        let entries: Vec<_> = users
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
        it.blacklist.write(&entries).await.unwrap();
        it.blacklist.write(&[]).await.unwrap();
        for user in users {
            let token = TokenRef {
                user,
                ..it.token(None)
            };
            assert_eq!(it.blacklist.check(&token).await, Lookup::StaleEpoch);
        }
    }

    async fn lookup_is_one_mget(connections: Connections) {
        let it = Filled::start(connections).await;
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

    async fn keys_of_a_lookup_share_a_slot(connections: Connections) {
        let it = Filled::start(connections).await;
        it.write(it.revoked(), HOUR).await;
        it.write(it.stale_epoch(1), HOUR).await;
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
}
