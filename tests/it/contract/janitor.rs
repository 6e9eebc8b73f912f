//! What the janitor must do over any store and any blacklist.

use std::sync::Arc;

use chrono::TimeDelta;
use latchkey::{
    domain::session::{RevokedReason, Session},
    ports::{
        Blacklist as _, Clock as _, Lookup, SessionStore, TokenRef, UserStore, blacklist::MARGIN,
    },
    service::{
        Revocation,
        janitor::{Maintenance, Purged},
        revocation::EntryLifetimes,
    },
    store::redis::RedisBlacklist,
};

use super::{
    blacklist::open,
    store::{Store, at, new_session, revocation},
};
use crate::support::{ManualClock, servers::own::OwnRedis};

const REFRESH: TimeDelta = TimeDelta::days(1);
const SESSION: TimeDelta = TimeDelta::days(30);

struct House {
    blacklist: Arc<RedisBlacklist>,
    clock: Arc<ManualClock>,
    janitor: Maintenance,
    redis: OwnRedis,
    store: Store,
}

impl House {
    async fn new(store: Store) -> Self {
        let redis = OwnRedis::start().await;
        let blacklist = Arc::new(open(&redis));
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
        let (user, version) = (session.user_id.clone(), session.session_epoch);
        self.blacklist
            .check(&TokenRef {
                session: session.id,
                user,
                session_epoch: version,
                generation,
            })
            .await
    }

    /// In the database alone, as when another instance could not reach Redis.
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

    /// Returns the remaining life of the only key of this name.
    async fn life(&self, pattern: &str) -> TimeDelta {
        let keys: Vec<String> = self.redis.ask(&["KEYS", pattern]).await;
        TimeDelta::milliseconds(self.redis.ask(&["PTTL", &keys[0]]).await)
    }

    async fn has_no_clock_of_its_own(&self) -> bool {
        let now = self.clock.now();
        self.store.sql.stamping_clock(now).await.unwrap() == now
    }

    fn advance(&self, span: TimeDelta) {
        self.clock.advance_ms(span.num_milliseconds());
    }
}

on_both_databases! {
    async fn a_rebuild_writes_all_revocations_that_the_database_knows(store: Store) {
        let house = House::new(store).await;
        let sql = &house.store.sql;
        let (clear, rotated, revoked) =
            (house.session_of("clear").await, house.session_of("rotated").await, house.session_of("revoked").await);
        let (cut_off, deleted) = (house.session_of("cut-off").await, house.session_of("deleted").await);
        let now = house.clock.now();
        assert_eq!(house.store.rotate(rotated.id, 0, now).await, Some(1));
        house.revoke(&revoked).await;
        sql.revoke_all_sessions(&at(&cut_off.user_id, now), None).await.unwrap();
        UserStore::delete(sql, &at(&deleted.user_id, now)).await.unwrap();

        for _ in 0..2 {
            assert!(house.janitor.sync().await.unwrap(), "rebuilt");
            assert!(!house.janitor.sync().await.unwrap(), "and then no more");
            assert_eq!(house.check(&clear, Some(0)).await, Lookup::Clear);
            assert_eq!(house.check(&rotated, Some(0)).await, Lookup::Clear, "of rotations the database is asked");
            assert_eq!(house.check(&revoked, None).await, Lookup::Revoked);
            assert_eq!(house.check(&cut_off, None).await, Lookup::StaleEpoch);
            assert_eq!(house.check(&deleted, None).await, Lookup::StaleEpoch);
            let () = house.redis.ask(&["FLUSHALL"]).await;
            assert_eq!(house.check(&clear, Some(0)).await, Lookup::Unknown);
        }
    }

    async fn what_another_instance_could_not_mark_is_marked_by_the_next_round(store: Store) {
        let house = House::new(store).await;
        let (revoked, cut_off) = (house.session_of("revoked").await, house.session_of("cut-off").await);
        house.janitor.sync().await.unwrap();
        assert!(!house.janitor.sync().await.unwrap());
        house.revoke(&revoked).await;
        house.store.sql.revoke_all_sessions(&at(&cut_off.user_id, house.clock.now()), None).await.unwrap();
        house.advance(TimeDelta::seconds(20));
        assert_eq!(house.check(&revoked, None).await, Lookup::Clear);
        assert!(!house.janitor.sync().await.unwrap());
        assert_eq!(house.check(&revoked, None).await, Lookup::Revoked);
        assert_eq!(house.check(&cut_off, None).await, Lookup::StaleEpoch);
    }

    /// Its own way to the database was cut meanwhile, and Redis, which it could ask, had not been told.
    async fn a_janitor_that_could_not_look_for_long_looks_back_as_far(store: Store) {
        let house = House::new(store).await;
        let revoked = house.session_of("revoked").await;
        house.janitor.sync().await.unwrap();
        house.janitor.sync().await.unwrap();
        house.advance(TimeDelta::seconds(10));
        house.revoke(&revoked).await;
        house.advance(TimeDelta::hours(2));
        assert!(!house.janitor.sync().await.unwrap());
        assert_eq!(house.check(&revoked, None).await, Lookup::Revoked);
    }

    /// The caller is a command without Redis, and its clock is minutes off.
    async fn a_revocation_by_a_caller_with_a_wrong_clock_is_marked_by_the_next_round(store: Store) {
        let house = House::new(store).await;
        house.janitor.sync().await.unwrap();
        if house.has_no_clock_of_its_own().await {
            return; // All processes that use an SQLite file are on one machine.
        }
        for off in [TimeDelta::minutes(-4), TimeDelta::minutes(4), TimeDelta::days(-400)] {
            let (revoked, cut_off) = (house.session_of(&format!("a{off}")).await, house.session_of(&format!("b{off}")).await);
            assert!(!house.janitor.sync().await.unwrap());
            let now = house.clock.now() + off;
            house.store.sql.revoke(revocation(revoked.id, RevokedReason::LoggedOut, now)).await.unwrap();
            house.store.sql.revoke_all_sessions(&at(&cut_off.user_id, now), None).await.unwrap();
            assert_eq!(house.check(&revoked, None).await, Lookup::Clear);
            assert!(!house.janitor.sync().await.unwrap());
            assert_eq!(house.check(&revoked, None).await, Lookup::Revoked, "{off}");
            assert_eq!(house.check(&cut_off, None).await, Lookup::StaleEpoch, "{off}");
        }
    }

    /// An entry that expires before its last token revives that token.
    async fn every_entry_outlives_its_tokens_by_the_margin(store: Store) {
        let house = House::new(store).await;
        let (rebuilt, marked, cut_off) =
            (house.session_of("rebuilt").await, house.session_of("marked").await, house.session_of("cut-off").await);
        house.revoke(&rebuilt).await;
        house.store.sql.revoke_all_sessions(&at(&cut_off.user_id, house.clock.now()), None).await.unwrap();
        house.advance(TimeDelta::hours(3));
        assert!(house.janitor.sync().await.unwrap());
        house.revoke(&marked).await;
        assert!(!house.janitor.sync().await.unwrap());
        for session in [&rebuilt, &marked] {
            let left = session.expires_at - house.clock.now() + MARGIN;
            assert!(house.life(&format!("*:s:{}", session.id)).await > left - TimeDelta::seconds(30));
        }
        assert!(house.life(&format!("*:u:{}", cut_off.user_id)).await > SESSION + MARGIN);
    }

    async fn what_is_flushed_has_no_token_left(store: Store) {
        let house = House::new(store).await;
        let (kept, deleted) = (house.session_of("kept").await, house.session_of("deleted").await);
        UserStore::delete(&house.store.sql, &at(&deleted.user_id, house.clock.now())).await.unwrap();
        assert_eq!(house.janitor.purge_expired().await.unwrap(), Purged::default());
        house.advance(SESSION - REFRESH);
        let later = Session { expires_at: house.clock.now() + SESSION, ..new_session(&house.store.user("later").await) };
        assert!(house.store.insert(&later).await);
        assert_eq!(house.janitor.purge_expired().await.unwrap(), Purged::default());
        assert!(house.store.stored(kept.id).await.is_some());
        house.advance(REFRESH * 3);
        assert_eq!(house.janitor.purge_expired().await.unwrap(), Purged { sessions: 2, users: 1, events: 0 });
        let left = SessionStore::page(&house.store.sql, None, 10).await.unwrap().sessions;
        assert_eq!(left.iter().map(|session| session.id).collect::<Vec<_>>(), [later.id]);
    }
}
