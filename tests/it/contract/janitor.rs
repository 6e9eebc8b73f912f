//! Tests of the janitor over each store, with a blacklist in Redis.

use std::sync::Arc;

use chrono::TimeDelta;
use latchkey_cache::RedisBlacklist;
use latchkey_domain::{
    ports::{
        Blacklist as _, Clock as _, Lookup, SessionStore, TokenRef, UserStore, blacklist::MARGIN,
    },
    session::{RevokedReason, Session},
};
use latchkey_service::{
    Revocation,
    revocation::{
        EntryLifetimes,
        janitor::{Maintenance, Purged},
    },
};

use super::{
    blacklist::{Connections, open},
    store::{Store, at, new_session, revocation},
};
use latchkey_testkit::{ManualClock, servers::own::OwnRedis};

const REFRESH: TimeDelta = TimeDelta::days(1);
const SESSION: TimeDelta = TimeDelta::days(30);

struct Fixture {
    blacklist: Arc<RedisBlacklist>,
    clock: Arc<ManualClock>,
    janitor: Maintenance,
    redis: OwnRedis,
    store: Store,
}

impl Fixture {
    async fn new(store: Store) -> Self {
        let redis = OwnRedis::start().await;
        let blacklist = Arc::new(open(&redis, Connections::Shared));
        let clock = Arc::new(ManualClock::default());
        let sql = Arc::new(store.sql.clone());
        let lifetimes = EntryLifetimes {
            refresh: REFRESH,
            session: SESSION,
        };
        let revocation = Revocation::new(
            Arc::clone(&sql) as _,
            Some(Arc::clone(&blacklist) as _),
            lifetimes,
        );
        let trail = (Arc::clone(&sql) as _, None);
        let janitor = Maintenance::new(
            Arc::clone(&clock) as _,
            Arc::clone(&sql) as _,
            sql,
            trail,
            revocation,
        );
        Self {
            blacklist,
            clock,
            janitor,
            redis,
            store,
        }
    }

    async fn session_of(&self, name: &str) -> Session {
        let session = new_session(&self.store.user(name).await);
        assert!(self.store.insert(&session).await);
        session
    }

    async fn check(&self, session: &Session, generation: Option<u32>) -> Lookup {
        let (user, epoch) = (session.user_id.clone(), session.session_epoch);
        self.blacklist
            .check(&TokenRef {
                session: session.id,
                user,
                session_epoch: epoch,
                generation,
            })
            .await
    }

    /// Revokes in the database only, like an instance that cannot reach Redis.
    async fn revoke(&self, session: &Session) {
        self.store
            .sql
            .revoke(revocation(
                session.id,
                RevokedReason::LoggedOut,
                self.clock.now(),
            ))
            .await
            .unwrap();
    }

    /// Returns the remaining lifetime of the only matching key.
    async fn ttl(&self, pattern: &str) -> TimeDelta {
        let keys: Vec<String> = self.redis.ask(&["KEYS", pattern]).await;
        TimeDelta::milliseconds(self.redis.ask(&["PTTL", &keys[0]]).await)
    }

    async fn has_no_clock(&self) -> bool {
        let now = self.clock.now();
        self.store.sql.stamping_clock(now).await.unwrap() == now
    }

    fn advance(&self, span: TimeDelta) {
        self.clock.advance_ms(span.num_milliseconds());
    }
}

on_both_databases! {
    async fn rebuild_writes_all_revocations_of_the_database(store: Store) {
        let fixture = Fixture::new(store).await;
        let sql = &fixture.store.sql;
        let (clear, rotated, revoked) =
            (fixture.session_of("clear").await, fixture.session_of("rotated").await, fixture.session_of("revoked").await);
        let (stale, deleted) = (fixture.session_of("stale").await, fixture.session_of("deleted").await);
        let now = fixture.clock.now();
        assert_eq!(fixture.store.rotate(rotated.id, 0, now).await, Some(1));
        fixture.revoke(&revoked).await;
        sql.revoke_all_sessions(&at(&stale.user_id, now), None).await.unwrap();
        UserStore::delete(sql, &at(&deleted.user_id, now)).await.unwrap();

        for _ in 0..2 {
            assert!(fixture.janitor.sync().await.unwrap(), "rebuilt");
            assert!(!fixture.janitor.sync().await.unwrap(), "rebuilt once only");
            assert_eq!(fixture.check(&clear, Some(0)).await, Lookup::Clear);
            assert_eq!(fixture.check(&rotated, Some(0)).await, Lookup::Clear, "rotations are in the database only");
            assert_eq!(fixture.check(&revoked, None).await, Lookup::Revoked);
            assert_eq!(fixture.check(&stale, None).await, Lookup::StaleEpoch);
            assert_eq!(fixture.check(&deleted, None).await, Lookup::StaleEpoch);
            let () = fixture.redis.ask(&["FLUSHALL"]).await;
            assert_eq!(fixture.check(&clear, Some(0)).await, Lookup::Unknown);
        }
    }

    async fn next_round_replays_failed_writes_of_other_instances(store: Store) {
        let fixture = Fixture::new(store).await;
        let (revoked, stale) = (fixture.session_of("revoked").await, fixture.session_of("stale").await);
        fixture.janitor.sync().await.unwrap();
        assert!(!fixture.janitor.sync().await.unwrap());
        fixture.revoke(&revoked).await;
        fixture.store.sql.revoke_all_sessions(&at(&stale.user_id, fixture.clock.now()), None).await.unwrap();
        fixture.advance(TimeDelta::seconds(20));
        assert_eq!(fixture.check(&revoked, None).await, Lookup::Clear);
        assert!(!fixture.janitor.sync().await.unwrap());
        assert_eq!(fixture.check(&revoked, None).await, Lookup::Revoked);
        assert_eq!(fixture.check(&stale, None).await, Lookup::StaleEpoch);
    }

    /// The instance was disconnected from the database, but not from Redis, which lacked the entry.
    async fn replay_covers_a_long_pause_of_the_janitor(store: Store) {
        let fixture = Fixture::new(store).await;
        let revoked = fixture.session_of("revoked").await;
        fixture.janitor.sync().await.unwrap();
        fixture.janitor.sync().await.unwrap();
        fixture.advance(TimeDelta::seconds(10));
        fixture.revoke(&revoked).await;
        fixture.advance(TimeDelta::hours(2));
        assert!(!fixture.janitor.sync().await.unwrap());
        assert_eq!(fixture.check(&revoked, None).await, Lookup::Revoked);
    }

    /// The caller is a command without Redis, and its clock is minutes off.
    async fn next_round_replays_revocations_with_a_wrong_clock(store: Store) {
        let fixture = Fixture::new(store).await;
        fixture.janitor.sync().await.unwrap();
        if fixture.has_no_clock().await {
            return; // All processes that use an SQLite file are on one machine.
        }
        for off in [TimeDelta::minutes(-4), TimeDelta::minutes(4), TimeDelta::days(-400)] {
            let (revoked, stale) = (fixture.session_of(&format!("a{off}")).await, fixture.session_of(&format!("b{off}")).await);
            assert!(!fixture.janitor.sync().await.unwrap());
            let now = fixture.clock.now() + off;
            fixture.store.sql.revoke(revocation(revoked.id, RevokedReason::LoggedOut, now)).await.unwrap();
            fixture.store.sql.revoke_all_sessions(&at(&stale.user_id, now), None).await.unwrap();
            assert_eq!(fixture.check(&revoked, None).await, Lookup::Clear);
            assert!(!fixture.janitor.sync().await.unwrap());
            assert_eq!(fixture.check(&revoked, None).await, Lookup::Revoked, "{off}");
            assert_eq!(fixture.check(&stale, None).await, Lookup::StaleEpoch, "{off}");
        }
    }

    /// An entry that expires before its last token would make that token valid again.
    async fn entry_outlives_its_tokens_by_the_margin(store: Store) {
        let fixture = Fixture::new(store).await;
        let (rebuilt, replayed, stale) =
            (fixture.session_of("rebuilt").await, fixture.session_of("marked").await, fixture.session_of("stale").await);
        fixture.revoke(&rebuilt).await;
        fixture.store.sql.revoke_all_sessions(&at(&stale.user_id, fixture.clock.now()), None).await.unwrap();
        fixture.advance(TimeDelta::hours(3));
        assert!(fixture.janitor.sync().await.unwrap());
        fixture.revoke(&replayed).await;
        assert!(!fixture.janitor.sync().await.unwrap());
        for session in [&rebuilt, &replayed] {
            let left = session.expires_at - fixture.clock.now() + MARGIN;
            assert!(fixture.ttl(&format!("*:s:{}", session.id)).await > left - TimeDelta::seconds(30));
        }
        assert!(fixture.ttl(&format!("*:u:{}", stale.user_id)).await > SESSION + MARGIN);
    }

    async fn purge_removes_only_rows_without_valid_tokens(store: Store) {
        let fixture = Fixture::new(store).await;
        let (kept, deleted) = (fixture.session_of("kept").await, fixture.session_of("deleted").await);
        UserStore::delete(&fixture.store.sql, &at(&deleted.user_id, fixture.clock.now())).await.unwrap();
        assert_eq!(fixture.janitor.purge_expired().await.unwrap(), Purged::default());
        fixture.advance(SESSION - REFRESH);
        let later = Session { expires_at: fixture.clock.now() + SESSION, ..new_session(&fixture.store.user("later").await) };
        assert!(fixture.store.insert(&later).await);
        assert_eq!(fixture.janitor.purge_expired().await.unwrap(), Purged::default());
        assert!(fixture.store.stored(kept.id).await.is_some());
        fixture.advance(REFRESH * 3);
        assert_eq!(fixture.janitor.purge_expired().await.unwrap(), Purged { sessions: 2, users: 1, events: 0 });
        let left = SessionStore::page(&fixture.store.sql, None, 10).await.unwrap().sessions;
        assert_eq!(left.iter().map(|session| session.id).collect::<Vec<_>>(), [later.id]);
    }
}
