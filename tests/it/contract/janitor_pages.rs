//! How the janitor goes through what was revoked: in pages, each of which may fail.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use chrono::TimeDelta;
use latchkey::{
    crypto::random,
    domain::{
        ids::{SessionId, UserId},
        session::{RevokedReason, Session, SessionState},
        time::Moment,
    },
    ports::{
        Blacklist as _, Clock as _, NewSession, Rotation, SessionPage, SessionStore, StoreError, TokenRef, Verdict,
    },
    service::{Revocation, janitor::Janitor, revocation::MarkLifetimes},
    store::redis::RedisBlacklist,
};

use super::{blacklist::open, store::Store};
use crate::support::{
    ManualClock,
    servers::{eventually, own::OwnRedis},
};

/// Twelve hundred revoked sessions, of which the janitor is given a page at a time.
struct Sessions {
    asked: Mutex<Vec<Option<SessionId>>>,
    fails_after_the_first_page: AtomicBool,
    fails: AtomicBool,
    revoked: Vec<Session>,
}

fn revoked(number: i64, now: Moment) -> Session {
    let at = now - TimeDelta::seconds(90) + TimeDelta::milliseconds(number / 7);
    Session {
        id: random::session_id(),
        user_id: random::user_id(),
        user_version: 0,
        generation: 0,
        created_at: now - TimeDelta::hours(1),
        rotated_at: now - TimeDelta::hours(1),
        expires_at: now + TimeDelta::days(1),
        revoked: Some((at, RevokedReason::LoggedOut)),
        last_ip: None,
        user_agent: None,
    }
}

fn key(session: &Session) -> (Moment, SessionId) {
    (session.revoked.unwrap().0, session.id)
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
        let found = self.revoked.iter().filter(|session| key(session).0 >= since);
        let found = found.filter(|session| after.is_none_or(|after| key(session) > after));
        Ok(found.take(limit.try_into().unwrap()).cloned().collect())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        unreachable!("the janitor asks for what was revoked alone")
    }
    async fn insert(&self, _: NewSession) -> Result<bool, StoreError> {
        unreachable!("the janitor asks for what was revoked alone")
    }
    async fn rotate(&self, _: Rotation) -> Result<Option<SessionState>, StoreError> {
        unreachable!("the janitor asks for what was revoked alone")
    }
    async fn find(&self, _: SessionId) -> Result<Option<SessionState>, StoreError> {
        unreachable!("the janitor asks for what was revoked alone")
    }
    async fn revoke(&self, _: SessionId, _: RevokedReason, _: Moment) -> Result<Option<(Session, bool)>, StoreError> {
        unreachable!("the janitor asks for what was revoked alone")
    }
    async fn list_live(&self, _: &UserId, _: Moment) -> Result<Vec<Session>, StoreError> {
        unreachable!("the janitor asks for what was revoked alone")
    }
    async fn page(&self, _: Option<SessionId>, _: i64) -> Result<SessionPage, StoreError> {
        unreachable!("the janitor asks for what was revoked alone")
    }
    async fn purge(&self, _: Moment, _: i64) -> Result<usize, StoreError> {
        unreachable!("the janitor asks for what was revoked alone")
    }
}

struct House {
    blacklist: Arc<RedisBlacklist>,
    clock: Arc<ManualClock>,
    janitor: Janitor,
    redis: OwnRedis,
    sessions: Arc<Sessions>,
    _store: Store,
}

impl House {
    async fn new() -> Self {
        let (redis, store, clock) = (OwnRedis::start().await, Store::sqlite().await, Arc::new(ManualClock::default()));
        let mut all: Vec<_> = (0..1200).map(|number| revoked(number, clock.now())).collect();
        all.sort_by_key(key);
        let sessions = Arc::new(Sessions {
            asked: Mutex::default(),
            fails_after_the_first_page: AtomicBool::new(false),
            fails: AtomicBool::new(false),
            revoked: all,
        });
        let blacklist = Arc::new(open(&redis));
        let lifetimes = MarkLifetimes { refresh: TimeDelta::days(1), session: TimeDelta::days(30) };
        let revocation = Revocation::new(Arc::clone(&sessions) as _, Some(Arc::clone(&blacklist) as _), lifetimes);
        let users = Arc::new(store.sql.clone());
        let janitor = Janitor::new(Arc::clone(&clock) as _, users, Arc::clone(&sessions) as _, revocation);
        Self { blacklist, clock, janitor, redis, sessions, _store: store }
    }

    fn token(session: &Session) -> TokenRef {
        TokenRef { session: session.id, user: session.user_id.clone(), version: 0, generation: None }
    }

    async fn check(&self, session: &Session) -> Verdict {
        self.blacklist.check(&Self::token(session)).await
    }

    /// After what the janitor asked for pages since the last time.
    fn asked(&self) -> Vec<Option<SessionId>> {
        std::mem::take(&mut self.sessions.asked.lock().unwrap())
    }

    fn id(&self, number: usize) -> SessionId {
        self.sessions.revoked[number].id
    }

    async fn scripts(&self) -> String {
        let stats: String = self.redis.ask(&["INFO", "commandstats"]).await;
        let line = stats.lines().find(|line| line.starts_with("cmdstat_eval:")).unwrap_or_default();
        line.split(',').next().unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn a_rebuild_goes_on_from_the_page_that_failed_and_rests_between() {
    let house = House::new().await;
    house.sessions.fails_after_the_first_page.store(true, Ordering::SeqCst);
    house.janitor.keep_blacklist().await.unwrap_err();
    assert_eq!(house.asked(), [None, Some(house.id(499))]);
    house.janitor.keep_blacklist().await.unwrap_err();
    assert_eq!(house.asked(), [Some(house.id(499))]);
    assert!(!house.janitor.keep_blacklist().await.unwrap(), "it rests");
    assert_eq!(house.asked(), []);
    let living = revoked(0, house.clock.now());
    assert_eq!(house.check(&house.sessions.revoked[0]).await, Verdict::Revoked);
    assert_eq!(house.check(&living).await, Verdict::Unknown);
    assert_eq!(house.blacklist.status().failed_rebuilds, 2);

    house.sessions.fails_after_the_first_page.store(false, Ordering::SeqCst);
    assert!(house.janitor.keep_blacklist().await.unwrap());
    assert_eq!(house.asked(), [Some(house.id(499)), Some(house.id(999)), Some(house.id(1199))]);
    for session in [0, 499, 500, 1199] {
        assert_eq!(house.check(&house.sessions.revoked[session]).await, Verdict::Revoked);
    }
    assert_eq!(house.check(&living).await, Verdict::Clear);
}

#[tokio::test]
async fn a_rebuild_whose_memory_was_lost_begins_again() {
    let house = House::new().await;
    house.sessions.fails_after_the_first_page.store(true, Ordering::SeqCst);
    house.janitor.keep_blacklist().await.unwrap_err();
    let () = house.redis.ask(&["FLUSHALL"]).await;
    house.sessions.fails_after_the_first_page.store(false, Ordering::SeqCst);
    house.asked();
    assert!(house.janitor.keep_blacklist().await.unwrap());
    assert_eq!(house.asked(), [None, Some(house.id(499)), Some(house.id(999)), Some(house.id(1199))]);
    assert_eq!(house.check(&house.sessions.revoked[0]).await, Verdict::Revoked);
}

#[tokio::test]
async fn what_was_written_to_the_same_memory_is_not_written_again_and_to_another_connection_it_is() {
    let house = House::new().await;
    assert!(house.janitor.keep_blacklist().await.unwrap());
    assert!(!house.janitor.keep_blacklist().await.unwrap());
    assert_eq!(house.asked().len(), 4 + 3, "a rebuild, and what was revoked lately");
    let written = house.scripts().await;
    for _ in 0..3 {
        house.clock.advance_ms(1000);
        house.janitor.keep_blacklist().await.unwrap();
    }
    assert_eq!(house.scripts().await, written);
    assert_eq!(house.asked().len(), 9, "it was looked for");

    let _: i64 = house.redis.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    house.janitor.keep_blacklist().await.unwrap_err();
    eventually("the connection has rested", async || house.janitor.keep_blacklist().await.is_ok()).await;
    assert_ne!(house.scripts().await, written);
}

/// The database is away just when the connection comes back: what was revoked meanwhile is not known.
#[tokio::test]
async fn after_a_failure_absence_is_believed_once_what_was_revoked_lately_was_written() {
    let house = House::new().await;
    let living = revoked(0, house.clock.now());
    assert!(house.janitor.keep_blacklist().await.unwrap());
    assert_eq!(house.check(&living).await, Verdict::Clear);
    let _: i64 = house.redis.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    assert_eq!(house.check(&living).await, Verdict::Unknown);
    house.sessions.fails.store(true, Ordering::SeqCst);
    eventually("the connection has rested", async || {
        house.janitor.keep_blacklist().await.unwrap_err().to_string() == "on purpose"
    })
    .await;
    assert_eq!(house.check(&living).await, Verdict::Unknown);
    assert_eq!(house.check(&house.sessions.revoked[7]).await, Verdict::Revoked);
    house.sessions.fails.store(false, Ordering::SeqCst);
    assert!(!house.janitor.keep_blacklist().await.unwrap());
    assert_eq!(house.check(&living).await, Verdict::Clear);
}
