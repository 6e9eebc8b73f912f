//! An empty, migrated database, and helpers that fill it.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use diesel::{
    Connection as _, RunQueryDsl as _, SqliteConnection, connection::SimpleConnection as _,
};
use latchkey_crypto::random;
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind},
    email::EmailAddress,
    ids::{SessionId, UserId},
    password::PasswordHash,
    ports::{
        Clock, NewSession, Revoke, RevokeAll, Rotation, RotationStore, SessionStore, UserStore,
    },
    session::{RevokedReason, Session},
    time::Moment,
    user::{NewUser, User},
    username::Username,
};
use latchkey_store::sql::{
    DatabaseUrl, SqlPool, SqlStore, migrate, pool::PoolLimits,
    rotation::coalescing::CoalescingStore,
};
use tempfile::TempDir;

use latchkey_testkit::servers;

pub const LIMITS: PoolLimits = PoolLimits {
    connections: 10,
    threads: 0,
    timeout: Duration::from_secs(20),
};

/// Separate store for one test.
pub struct Store {
    pub rotations: Arc<dyn RotationStore>,
    pub sql: SqlStore,
    url: String,
    _folder: TempDir,
}

impl Store {
    pub async fn postgres() -> Self {
        Self::open(
            &servers::fresh_database().await,
            tempfile::tempdir().unwrap(),
        )
        .await
    }

    /// Returns this store with coalesced rotations.
    pub fn coalesced(mut self) -> Self {
        self.rotations = Arc::new(CoalescingStore::new(&self.sql).unwrap());
        self
    }

    /// Returns the store with the name of its database, for direct statements.
    pub async fn postgres_named() -> (Self, String) {
        let url = servers::fresh_database().await;
        let name = url.rsplit('/').next().unwrap().to_owned();
        (Self::open(&url, tempfile::tempdir().unwrap()).await, name)
    }

    /// Opens the store in this database, and migrates it if needed.
    pub async fn at(url: &str) -> Self {
        Self::open(url, tempfile::tempdir().unwrap()).await
    }

    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::open(
            &format!("sqlite://{}/latchkey.db?mode=rwc", folder.path().display()),
            folder,
        )
        .await
    }

    async fn open(text: &str, folder: TempDir) -> Self {
        let url: DatabaseUrl = text.parse().unwrap();
        migrate::run(&url, LIMITS.timeout).await.unwrap();
        let sql = SqlStore::new(SqlPool::open(&url, LIMITS).unwrap());
        Self {
            rotations: Arc::new(sql.clone()),
            sql,
            url: text.to_owned(),
            _folder: folder,
        }
    }

    /// Opens a separate connection to the same Postgres database.
    pub async fn client(&self) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(&self.url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client
    }

    /// Executes a statement directly in the database.
    pub async fn execute(&self, statement: &str) -> Result<(), String> {
        if let Some(path) = self.url.strip_prefix("sqlite://") {
            let mut sqlite =
                SqliteConnection::establish(path.trim_end_matches("?mode=rwc")).unwrap();
            let statement = format!("PRAGMA busy_timeout = 5000; {statement}");
            return sqlite
                .batch_execute(&statement)
                .map_err(|error| error.to_string());
        }
        let message =
            |error: tokio_postgres::Error| error.as_db_error().unwrap().message().to_owned();
        self.client()
            .await
            .batch_execute(statement)
            .await
            .map_err(message)
    }

    /// Sets the time of the session's revocation, because Postgres stamps it by its own clock.
    pub async fn stamp_revocation(&self, id: SessionId, at: Moment) {
        let at = at.format("%F %T%.6f");
        self.execute(&format!(
            "UPDATE sessions SET revoked_at = '{at}' WHERE id = '{id}'"
        ))
        .await
        .unwrap();
    }

    /// Sets the time at which the user's session epoch was raised.
    pub async fn stamp_epoch(&self, id: &UserId, at: Moment) {
        let at = at.format("%F %T%.6f");
        self.execute(&format!(
            "UPDATE users SET epoch_raised_at = '{at}' WHERE id = '{id}'"
        ))
        .await
        .unwrap();
    }

    /// Returns the values of a query with one column, as texts.
    pub async fn column(&self, query: &str) -> Vec<Option<String>> {
        if let Some(path) = self.url.strip_prefix("sqlite://") {
            #[derive(diesel::QueryableByName)]
            struct Row {
                #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::Text>)]
                value: Option<String>,
            }
            let mut sqlite =
                SqliteConnection::establish(path.trim_end_matches("?mode=rwc")).unwrap();
            let query = diesel::sql_query(format!("SELECT value FROM ({query})"));
            return query
                .load::<Row>(&mut sqlite)
                .unwrap()
                .into_iter()
                .map(|row| row.value)
                .collect();
        }
        self.client()
            .await
            .query(query, &[])
            .await
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect()
    }

    /// Inserts an active user with this name, at session epoch 0.
    pub async fn user(&self, name: &str) -> User {
        UserStore::insert(&self.sql, new_user(name), audit_event(start()))
            .await
            .unwrap()
    }

    /// Inserts a live session of this user, at generation 0, created at [`start`].
    pub async fn session(&self, user: &User) -> Session {
        let session = new_session(user);
        assert!(self.insert(&session).await);
        session
    }

    pub async fn insert(&self, session: &Session) -> bool {
        self.sign_in(NewSession {
            session: session.clone(),
            update_last_login: false,
            audit: audit_event(start()),
        })
        .await
    }

    pub async fn sign_in(&self, new: NewSession) -> bool {
        SessionStore::insert(&self.sql, new)
            .await
            .unwrap()
            .is_some()
    }

    /// Rotates at `now`. Returns the new generation, or `None` if the rotation failed.
    pub async fn rotate(&self, id: SessionId, generation: u32, now: Moment) -> Option<u32> {
        let (user, epoch) = match self.stored(id).await {
            Some(session) => (session.user_id, session.session_epoch),
            None => (unknown_user(), 0),
        };
        let rotation = Rotation {
            id,
            user,
            session_epoch: epoch,
            generation,
            ip: None,
            user_agent: None,
        };
        self.rotations
            .rotate(rotation, &stopped(now))
            .await
            .unwrap()
            .map(|state| state.session.generation)
    }

    pub async fn stored(&self, id: SessionId) -> Option<Session> {
        self.sql.find(id).await.unwrap().map(|state| state.session)
    }

    pub async fn epoch(&self, user: &User) -> u32 {
        self.sql
            .find_by_username(&name(&user.username))
            .await
            .unwrap()
            .unwrap()
            .session_epoch
    }

    /// Returns the user as joined to the session, which also shows a deletion.
    pub async fn user_of(&self, session: &Session) -> Option<User> {
        self.sql.find(session.id).await.unwrap().unwrap().user
    }
}

/// Returns a time with microseconds, and with nanoseconds that no database stores.
pub fn start() -> Moment {
    Moment::from_timestamp(1_800_000_000, 123_456_789).unwrap()
}

pub fn after(seconds: i64) -> Moment {
    start() + TimeDelta::seconds(seconds)
}

pub fn to_micros(moment: Moment) -> Moment {
    Moment::from_timestamp_micros(moment.timestamp_micros()).unwrap()
}

pub fn name(text: &str) -> Username {
    Username::parse(text).unwrap()
}

pub fn hash(text: &str) -> PasswordHash {
    PasswordHash::new(text)
}

pub fn new_user(username: &str) -> NewUser {
    NewUser {
        id: random::user_id(),
        username: name(username),
        email: None,
        password_hash: hash("a hash"),
        is_staff: false,
        created_at: start(),
    }
}

pub fn with_email(username: &str, email: &str) -> NewUser {
    NewUser {
        email: Some(EmailAddress::parse(email).unwrap()),
        ..new_user(username)
    }
}

pub fn new_session(user: &User) -> Session {
    Session {
        id: random::session_id(),
        user_id: user.id.clone(),
        session_epoch: user.session_epoch,
        generation: 0,
        created_at: start(),
        rotated_at: start(),
        expires_at: after(30 * 86_400),
        revoked: None,
        last_ip: Some("192.0.2.1".to_owned()),
        user_agent: None,
    }
}

/// Returns the rotation for a token of this generation.
pub fn rotation_of(session: &Session, generation: u32) -> Rotation {
    let (user, epoch) = (session.user_id.clone(), session.session_epoch);
    Rotation {
        id: session.id,
        user,
        session_epoch: epoch,
        generation,
        ip: None,
        user_agent: None,
    }
}

/// Returns a clock that stands still.
pub fn stopped(now: Moment) -> Arc<dyn Clock> {
    Arc::new(Stopped(now))
}

struct Stopped(Moment);

impl Clock for Stopped {
    fn now(&self) -> Moment {
        self.0
    }
}

/// Returns an audit event for tests of something else.
pub fn audit_event(now: Moment) -> AuditEvent {
    AuditEvent::new(now, EventKind::AllSessionsRevoked, Actor::Service)
}

/// Returns the revocation of all sessions of a user.
pub fn at(id: &UserId, now: Moment) -> RevokeAll {
    RevokeAll {
        id: id.clone(),
        now,
        audit: audit_event(now).of_user(id),
    }
}

pub fn revocation(id: SessionId, reason: RevokedReason, now: Moment) -> Revoke {
    Revoke {
        id,
        of: None,
        reason,
        now,
        audit: audit_event(now).of_session(id),
    }
}

/// Returns a user id that no store contains.
pub fn unknown_user() -> UserId {
    UserId::new("unknown")
}
