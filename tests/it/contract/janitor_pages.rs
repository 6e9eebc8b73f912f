//! How the janitor goes through what was revoked: in pages, each of which may fail.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use async_trait::async_trait;
use chrono::TimeDelta;
use latchkey::{
    crypto::random,
    domain::{
        audit::AuditEvent,
        ids::{SessionId, UserId},
        session::{RevokedReason, Session, SessionState},
        time::Moment,
    },
    ports::{
        Blacklist as _, Clock, Lookup, NewSession, Repeat, Revoke, Rotation, SessionPage,
        SessionStore, StoreError, TokenRef,
    },
    service::{Revocation, janitor::Maintenance, revocation::EntryLifetimes},
    store::{redis::RedisBlacklist, sql::SqlStore},
};

use super::{
    blacklist::open,
    store::{Store, revocation},
};
use crate::support::{
    ManualClock,
    servers::{self, eventually, own::OwnRedis},
};

/// A real store with twelve hundred revoked sessions, behind a door that may be shut.
struct Sessions {
    asked: Mutex<Vec<Option<SessionId>>>,
    fails_after_the_first_page: AtomicBool,
    fails: AtomicBool,
    /// The number of seconds by which the clock of the database is ahead of its stamps.
    clock_is_ahead: AtomicI64,
    revoked: Vec<Session>,
    sql: SqlStore,
}

/// Seven of them at each moment, whose ids decide on their order.
const REVOKED: &str = "INSERT INTO sessions (id, user_id, session_epoch, generation, created_at, rotated_at, expires_at, \
     revoked_at, revoked_reason) \
     SELECT gen_random_uuid()::text, gen_random_uuid()::text, 0, 0, at - interval '1 hour', at - interval '1 hour', \
     at + interval '1 day', at - interval '90 s' + (number / 7) * interval '1 ms', 'logged_out' \
     FROM generate_series(0, 1199) AS number, (SELECT clock_timestamp() AT TIME ZONE 'UTC' AS at) AS begun";

/// One that is not revoked, of nobody whom the store knows.
fn living() -> TokenRef {
    TokenRef {
        session: random::session_id(),
        user: random::user_id(),
        session_epoch: 0,
        generation: None,
    }
}

#[async_trait]
impl SessionStore for Sessions {
    async fn revoked_since(
        &self,
        since: Moment,
        after: Option<(Moment, SessionId)>,
        limit: i64,
    ) -> Result<Vec<Session>, StoreError> {
        self.asked.lock().unwrap().push(after.map(|(_, id)| id));
        let later = after.is_some() && self.fails_after_the_first_page.load(Ordering::SeqCst);
        if later || self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("on purpose".to_owned()));
        }
        self.sql.revoked_since(since, after, limit).await
    }

    async fn stamping_clock(&self, ours: Moment) -> Result<Moment, StoreError> {
        let ahead = TimeDelta::seconds(self.clock_is_ahead.load(Ordering::SeqCst));
        self.sql.stamping_clock(ours).await.map(|now| now + ahead)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.sql.ping().await
    }

    async fn insert(&self, new: NewSession) -> Result<Option<u32>, StoreError> {
        SessionStore::insert(&self.sql, new).await
    }

    async fn trim(
        &self,
        newest: &Session,
        limit: u32,
        audit: AuditEvent,
    ) -> Result<Vec<Session>, StoreError> {
        self.sql.trim(newest, limit, audit).await
    }

    async fn rotate(
        &self,
        rotation: Rotation,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<SessionState>, StoreError> {
        self.sql.rotate(rotation, clock).await
    }

    async fn count_repeat(&self, repeat: Repeat) -> Result<bool, StoreError> {
        self.sql.count_repeat(repeat).await
    }

    async fn find(&self, id: SessionId) -> Result<Option<SessionState>, StoreError> {
        self.sql.find(id).await
    }

    async fn revoke(&self, revoke: Revoke) -> Result<Option<(Session, bool)>, StoreError> {
        self.sql.revoke(revoke).await
    }

    async fn list_live(&self, user: &UserId, now: Moment) -> Result<Vec<Session>, StoreError> {
        self.sql.list_live(user, now).await
    }

    async fn page(&self, after: Option<SessionId>, limit: i64) -> Result<SessionPage, StoreError> {
        self.sql.page(after, limit).await
    }

    async fn purge(&self, before: Moment, limit: i64) -> Result<usize, StoreError> {
        SessionStore::purge(&self.sql, before, limit).await
    }
}

struct House {
    blacklist: Arc<RedisBlacklist>,
    clock: Arc<ManualClock>,
    janitor: Maintenance,
    redis: OwnRedis,
    sessions: Arc<Sessions>,
    store: Store,
}

impl House {
    async fn new() -> Self {
        let (redis, clock) = (OwnRedis::start().await, Arc::new(ManualClock::default()));
        let (store, database) = Store::postgres_named().await;
        servers::execute(&database, REVOKED).await;
        let all = store
            .sql
            .revoked_since(Moment::UNIX_EPOCH, None, 2000)
            .await
            .unwrap();
        assert_eq!(all.len(), 1200);
        let sessions = Arc::new(Sessions {
            asked: Mutex::default(),
            fails_after_the_first_page: AtomicBool::new(false),
            fails: AtomicBool::new(false),
            clock_is_ahead: AtomicI64::new(0),
            revoked: all,
            sql: store.sql.clone(),
        });
        let blacklist = Arc::new(open(&redis));
        let lifetimes = EntryLifetimes {
            refresh: TimeDelta::days(1),
            session: TimeDelta::days(30),
        };
        let revocation = Revocation::new(
            Arc::clone(&sessions) as _,
            Some(Arc::clone(&blacklist) as _),
            lifetimes,
        );
        let users = Arc::new(store.sql.clone());
        let trail = (Arc::new(store.sql.clone()) as _, None);
        let janitor = Maintenance::new(
            Arc::clone(&clock) as _,
            users,
            Arc::clone(&sessions) as _,
            trail,
            revocation,
        );
        Self {
            blacklist,
            clock,
            janitor,
            redis,
            sessions,
            store,
        }
    }

    fn token(session: &Session) -> TokenRef {
        TokenRef {
            session: session.id,
            user: session.user_id.clone(),
            session_epoch: 0,
            generation: None,
        }
    }

    async fn check(&self, session: &Session) -> Lookup {
        self.blacklist.check(&Self::token(session)).await
    }

    /// After what the janitor asked for pages since the last time.
    fn asked(&self) -> Vec<Option<SessionId>> {
        std::mem::take(&mut self.sessions.asked.lock().unwrap())
    }

    fn id(&self, number: usize) -> SessionId {
        self.sessions.revoked[number].id
    }

    /// The number of writes of a mark. Before each write, its remaining life is checked.
    async fn writes(&self) -> String {
        let stats: String = self.redis.ask(&["INFO", "commandstats"]).await;
        let line = stats
            .lines()
            .find(|line| line.starts_with("cmdstat_pttl:"))
            .unwrap_or_default();
        line.split(',').next().unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn a_rebuild_goes_on_from_the_page_that_failed_and_rests_between() {
    let house = House::new().await;
    house
        .sessions
        .fails_after_the_first_page
        .store(true, Ordering::SeqCst);
    house.janitor.sync().await.unwrap_err();
    assert_eq!(house.asked(), [None, Some(house.id(499))]);
    house.janitor.sync().await.unwrap_err();
    assert_eq!(house.asked(), [Some(house.id(499))]);
    assert!(!house.janitor.sync().await.unwrap(), "it rests");
    assert_eq!(house.asked(), []);
    let living = living();
    assert_eq!(
        house.check(&house.sessions.revoked[0]).await,
        Lookup::Revoked
    );
    assert_eq!(house.blacklist.check(&living).await, Lookup::Unknown);
    assert_eq!(house.blacklist.status().failed_rebuilds, 2);

    house
        .sessions
        .fails_after_the_first_page
        .store(false, Ordering::SeqCst);
    assert!(house.janitor.sync().await.unwrap());
    assert_eq!(
        house.asked(),
        [
            Some(house.id(499)),
            Some(house.id(999)),
            Some(house.id(1199))
        ]
    );
    for session in [0, 499, 500, 1199] {
        assert_eq!(
            house.check(&house.sessions.revoked[session]).await,
            Lookup::Revoked
        );
    }
    assert_eq!(house.blacklist.check(&living).await, Lookup::Clear);
}

#[tokio::test]
async fn a_rebuild_whose_memory_was_lost_begins_again() {
    let house = House::new().await;
    house
        .sessions
        .fails_after_the_first_page
        .store(true, Ordering::SeqCst);
    house.janitor.sync().await.unwrap_err();
    let () = house.redis.ask(&["FLUSHALL"]).await;
    house
        .sessions
        .fails_after_the_first_page
        .store(false, Ordering::SeqCst);
    house.asked();
    assert!(house.janitor.sync().await.unwrap());
    assert_eq!(
        house.asked(),
        [
            None,
            Some(house.id(499)),
            Some(house.id(999)),
            Some(house.id(1199))
        ]
    );
    assert_eq!(
        house.check(&house.sessions.revoked[0]).await,
        Lookup::Revoked
    );
}

#[tokio::test]
async fn what_was_written_to_the_same_memory_is_not_written_again_and_to_another_connection_it_is()
{
    let house = House::new().await;
    assert!(house.janitor.sync().await.unwrap());
    assert!(!house.janitor.sync().await.unwrap());
    assert_eq!(
        house.asked().len(),
        4 + 3,
        "a rebuild, and what was revoked lately"
    );
    let written = house.writes().await;
    for _ in 0..3 {
        house.clock.advance_ms(1000);
        house.janitor.sync().await.unwrap();
    }
    assert_eq!(house.writes().await, written);
    assert_eq!(house.asked().len(), 9, "it was looked for");

    let _: i64 = house
        .redis
        .ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
        .await;
    house.janitor.sync().await.unwrap_err();
    eventually("the connection has rested", async || {
        house.janitor.sync().await.is_ok()
    })
    .await;
    assert_ne!(house.writes().await, written);
}

/// The database is away just when the connection comes back: what was revoked meanwhile is not known.
#[tokio::test]
async fn after_a_failure_absence_is_believed_once_what_was_revoked_lately_was_written() {
    let house = House::new().await;
    let living = living();
    assert!(house.janitor.sync().await.unwrap());
    assert_eq!(house.blacklist.check(&living).await, Lookup::Clear);
    let _: i64 = house
        .redis
        .ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
        .await;
    assert_eq!(house.blacklist.check(&living).await, Lookup::Unknown);
    house.sessions.fails.store(true, Ordering::SeqCst);
    eventually("the connection has rested", async || {
        house.janitor.sync().await.unwrap_err().to_string() == "on purpose"
    })
    .await;
    assert_eq!(house.blacklist.check(&living).await, Lookup::Unknown);
    assert_eq!(
        house.check(&house.sessions.revoked[7]).await,
        Lookup::Revoked
    );
    house.sessions.fails.store(false, Ordering::SeqCst);
    assert!(!house.janitor.sync().await.unwrap());
    assert_eq!(house.blacklist.check(&living).await, Lookup::Clear);
}

/// By NTP, or by a fail-over to a server whose clock is behind. The next revocation is stamped earlier than those that
/// the janitor has already read.
#[tokio::test]
async fn after_the_database_s_clock_was_set_back_no_revocation_is_missed() {
    let house = House::new().await;
    house.sessions.clock_is_ahead.store(600, Ordering::SeqCst);
    assert!(house.janitor.sync().await.unwrap());
    assert!(!house.janitor.sync().await.unwrap());
    house.sessions.clock_is_ahead.store(0, Ordering::SeqCst);
    let session = house.store.session(&house.store.user("ada").await).await;
    house
        .store
        .sql
        .revoke(revocation(
            session.id,
            RevokedReason::LoggedOut,
            house.clock.now(),
        ))
        .await
        .unwrap();
    assert_eq!(house.check(&session).await, Lookup::Clear);
    assert!(!house.janitor.sync().await.unwrap());
    assert_eq!(house.check(&session).await, Lookup::Revoked);
}
