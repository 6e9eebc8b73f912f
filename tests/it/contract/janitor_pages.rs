//! Tests of the janitor's pages of revocations, each of which may fail.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use async_trait::async_trait;
use chrono::TimeDelta;
use latchkey_cache::RedisBlacklist;
use latchkey_crypto::random;
use latchkey_domain::{
    audit::AuditEvent,
    ids::{SessionId, UserId},
    ports::{
        Blacklist as _, Clock, Lookup, NewSession, Repeat, Revoke, SessionPage, SessionStore,
        StoreError, TokenRef,
    },
    session::{RevokedReason, Session, SessionState},
    time::Moment,
};
use latchkey_service::{
    Revocation,
    revocation::{EntryLifetimes, janitor::Maintenance},
};
use latchkey_store::sql::SqlStore;

use super::{
    blacklist::{Connections, open},
    store::{Store, revocation},
};
use latchkey_testkit::{
    ManualClock,
    servers::{self, eventually, own::OwnRedis},
};

/// A real store with 1200 revoked sessions, whose queries fail on request.
struct Sessions {
    requested_pages: Mutex<Vec<Option<SessionId>>>,
    fails_after_the_first_page: AtomicBool,
    fails: AtomicBool,
    /// Seconds by which the clock of the database is ahead of its stamps.
    clock_is_ahead: AtomicI64,
    revoked: Vec<Session>,
    sql: SqlStore,
}

/// Seven sessions at each moment, so that ids decide their order.
const REVOKED: &str = "INSERT INTO sessions (id, user_id, session_epoch, generation, created_at, rotated_at, expires_at, \
     revoked_at, revoked_reason) \
     SELECT gen_random_uuid()::text, gen_random_uuid()::text, 0, 0, at - interval '1 hour', at - interval '1 hour', \
     at + interval '1 day', at - interval '90 s' + (number / 7) * interval '1 ms', 'logged_out' \
     FROM generate_series(0, 1199) AS number, (SELECT clock_timestamp() AT TIME ZONE 'UTC' AS at) AS begun";

/// Returns a token that is not revoked, of a user unknown to the store.
fn live_token() -> TokenRef {
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
        self.requested_pages
            .lock()
            .unwrap()
            .push(after.map(|(_, id)| id));
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

struct Fixture {
    blacklist: Arc<RedisBlacklist>,
    clock: Arc<ManualClock>,
    janitor: Maintenance,
    redis: OwnRedis,
    sessions: Arc<Sessions>,
    store: Store,
}

impl Fixture {
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
            requested_pages: Mutex::default(),
            fails_after_the_first_page: AtomicBool::new(false),
            fails: AtomicBool::new(false),
            clock_is_ahead: AtomicI64::new(0),
            revoked: all,
            sql: store.sql.clone(),
        });
        let blacklist = Arc::new(open(&redis, Connections::Shared));
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

    /// Returns the `after` positions of the pages requested since the last call.
    fn requested_pages(&self) -> Vec<Option<SessionId>> {
        std::mem::take(&mut self.sessions.requested_pages.lock().unwrap())
    }

    fn id(&self, number: usize) -> SessionId {
        self.sessions.revoked[number].id
    }

    /// Returns the number of written entries. Each write reads the remaining TTL first.
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
async fn rebuild_resumes_at_the_failed_page_after_a_back_off() {
    let fixture = Fixture::new().await;
    fixture
        .sessions
        .fails_after_the_first_page
        .store(true, Ordering::SeqCst);
    fixture.janitor.sync().await.unwrap_err();
    assert_eq!(fixture.requested_pages(), [None, Some(fixture.id(499))]);
    fixture.janitor.sync().await.unwrap_err();
    assert_eq!(fixture.requested_pages(), [Some(fixture.id(499))]);
    assert!(
        !fixture.janitor.sync().await.unwrap(),
        "during the back-off"
    );
    assert_eq!(fixture.requested_pages(), []);
    let live_token = live_token();
    assert_eq!(
        fixture.check(&fixture.sessions.revoked[0]).await,
        Lookup::Revoked
    );
    assert_eq!(fixture.blacklist.check(&live_token).await, Lookup::Unknown);
    assert_eq!(fixture.blacklist.status().failed_rebuilds, 2);

    fixture
        .sessions
        .fails_after_the_first_page
        .store(false, Ordering::SeqCst);
    assert!(fixture.janitor.sync().await.unwrap());
    assert_eq!(
        fixture.requested_pages(),
        [
            Some(fixture.id(499)),
            Some(fixture.id(999)),
            Some(fixture.id(1199))
        ]
    );
    for session in [0, 499, 500, 1199] {
        assert_eq!(
            fixture.check(&fixture.sessions.revoked[session]).await,
            Lookup::Revoked
        );
    }
    assert_eq!(fixture.blacklist.check(&live_token).await, Lookup::Clear);
}

#[tokio::test]
async fn rebuild_of_a_lost_cache_starts_again() {
    let fixture = Fixture::new().await;
    fixture
        .sessions
        .fails_after_the_first_page
        .store(true, Ordering::SeqCst);
    fixture.janitor.sync().await.unwrap_err();
    let () = fixture.redis.ask(&["FLUSHALL"]).await;
    fixture
        .sessions
        .fails_after_the_first_page
        .store(false, Ordering::SeqCst);
    fixture.requested_pages();
    assert!(fixture.janitor.sync().await.unwrap());
    assert_eq!(
        fixture.requested_pages(),
        [
            None,
            Some(fixture.id(499)),
            Some(fixture.id(999)),
            Some(fixture.id(1199))
        ]
    );
    assert_eq!(
        fixture.check(&fixture.sessions.revoked[0]).await,
        Lookup::Revoked
    );
}

#[tokio::test]
async fn entries_are_replayed_only_after_a_reconnection() {
    let fixture = Fixture::new().await;
    assert!(fixture.janitor.sync().await.unwrap());
    assert!(!fixture.janitor.sync().await.unwrap());
    assert_eq!(
        fixture.requested_pages().len(),
        4 + 3,
        "a rebuild and a replay"
    );
    let writes_before = fixture.writes().await;
    for _ in 0..3 {
        fixture.clock.advance_ms(1000);
        fixture.janitor.sync().await.unwrap();
    }
    assert_eq!(fixture.writes().await, writes_before);
    assert_eq!(
        fixture.requested_pages().len(),
        9,
        "revocations were queried"
    );

    let _: i64 = fixture
        .redis
        .ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
        .await;
    fixture.janitor.sync().await.unwrap_err();
    eventually("the back-off is over", async || {
        fixture.janitor.sync().await.is_ok()
    })
    .await;
    assert_ne!(fixture.writes().await, writes_before);
}

/// The database is unavailable when the connection returns, so revocations in between are unknown.
#[tokio::test]
async fn trust_returns_after_the_replay_of_recent_revocations() {
    let fixture = Fixture::new().await;
    let live_token = live_token();
    assert!(fixture.janitor.sync().await.unwrap());
    assert_eq!(fixture.blacklist.check(&live_token).await, Lookup::Clear);
    let _: i64 = fixture
        .redis
        .ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
        .await;
    assert_eq!(fixture.blacklist.check(&live_token).await, Lookup::Unknown);
    fixture.sessions.fails.store(true, Ordering::SeqCst);
    eventually("the back-off is over", async || {
        fixture.janitor.sync().await.unwrap_err().to_string() == "on purpose"
    })
    .await;
    assert_eq!(fixture.blacklist.check(&live_token).await, Lookup::Unknown);
    assert_eq!(
        fixture.check(&fixture.sessions.revoked[7]).await,
        Lookup::Revoked
    );
    fixture.sessions.fails.store(false, Ordering::SeqCst);
    assert!(!fixture.janitor.sync().await.unwrap());
    assert_eq!(fixture.blacklist.check(&live_token).await, Lookup::Clear);
}

/// The clock is set back by NTP, or by a fail-over. The next revocation is stamped earlier
/// than those that the janitor has already read.
#[tokio::test]
async fn revocation_after_a_clock_set_back_is_replayed() {
    let fixture = Fixture::new().await;
    fixture.sessions.clock_is_ahead.store(600, Ordering::SeqCst);
    assert!(fixture.janitor.sync().await.unwrap());
    assert!(!fixture.janitor.sync().await.unwrap());
    fixture.sessions.clock_is_ahead.store(0, Ordering::SeqCst);
    let session = fixture
        .store
        .session(&fixture.store.user("ada").await)
        .await;
    fixture
        .store
        .sql
        .revoke(revocation(
            session.id,
            RevokedReason::LoggedOut,
            fixture.clock.now(),
        ))
        .await
        .unwrap();
    assert_eq!(fixture.check(&session).await, Lookup::Clear);
    assert!(!fixture.janitor.sync().await.unwrap());
    assert_eq!(fixture.check(&session).await, Lookup::Revoked);
}
