//! An empty, migrated database, and what is put into it.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use diesel::{
    Connection as _, RunQueryDsl as _, SqliteConnection, connection::SimpleConnection as _,
};
use latchkey::{
    crypto::random,
    domain::{
        audit::{Actor, AuditEvent, EventKind},
        email::EmailAddress,
        ids::{SessionId, UserId},
        password::PasswordHash,
        session::{RevokedReason, Session},
        time::Moment,
        user::{NewUser, User},
        username::Username,
    },
    ports::{Clock, NewSession, Revoke, RevokeAll, Rotation, SessionStore, UserStore},
    store::sql::{DatabaseUrl, SqlPool, SqlStore, migrate, pool::PoolLimits},
};
use tempfile::TempDir;

use crate::support::servers;

pub const LIMITS: PoolLimits = PoolLimits {
    connections: 10,
    threads: 0,
    timeout: Duration::from_secs(20),
};

/// A store of its own for one test.
pub struct Store {
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

    /// With the name of the database, for statements of the test's own.
    pub async fn postgres_named() -> (Self, String) {
        let url = servers::fresh_database().await;
        let name = url.rsplit('/').next().unwrap().to_owned();
        (Self::open(&url, tempfile::tempdir().unwrap()).await, name)
    }

    /// In this database, migrated if it is not yet.
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
            sql,
            url: text.to_owned(),
            _folder: folder,
        }
    }

    /// A connection of the test's own to the same Postgres database.
    pub async fn client(&self) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(&self.url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client
    }

    /// Does this to the database behind the store's back.
    pub async fn execute(&self, statement: &str) -> Result<(), String> {
        if let Some(path) = self.url.strip_prefix("sqlite://") {
            let mut sqlite =
                SqliteConnection::establish(path.trim_end_matches("?mode=rwc")).unwrap();
            let statement = format!("PRAGMA busy_timeout = 5000; {statement}");
            return sqlite
                .batch_execute(&statement)
                .map_err(|error| error.to_string());
        }
        let told = |error: tokio_postgres::Error| error.as_db_error().unwrap().message().to_owned();
        self.client()
            .await
            .batch_execute(statement)
            .await
            .map_err(told)
    }

    /// Stamps the revocation of this session again: Postgres has stamped it by its own clock.
    pub async fn stamp_revocation(&self, id: SessionId, at: Moment) {
        let at = at.format("%F %T%.6f");
        self.execute(&format!(
            "UPDATE sessions SET revoked_at = '{at}' WHERE id = '{id}'"
        ))
        .await
        .unwrap();
    }

    /// Stamps the cut-off of this user again.
    pub async fn stamp_cut_off(&self, id: &UserId, at: Moment) {
        let at = at.format("%F %T%.6f");
        self.execute(&format!(
            "UPDATE users SET epoch_raised_at = '{at}' WHERE id = '{id}'"
        ))
        .await
        .unwrap();
    }

    /// The values of the one column that a query has, as texts.
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

    /// A user of this name, active, at version 0.
    pub async fn user(&self, name: &str) -> User {
        UserStore::insert(&self.sql, new_user(name), told(start()))
            .await
            .unwrap()
    }

    /// A live session of this user, at generation 0, made at [`start`].
    pub async fn session(&self, user: &User) -> Session {
        let session = new_session(user);
        assert!(self.insert(&session).await);
        session
    }

    pub async fn insert(&self, session: &Session) -> bool {
        self.sign_in(NewSession {
            session: session.clone(),
            update_last_login: false,
            audit: told(start()),
        })
        .await
    }

    pub async fn sign_in(&self, new: NewSession) -> bool {
        SessionStore::insert(&self.sql, new)
            .await
            .unwrap()
            .is_some()
    }

    /// Rotates at `now`. The generation afterwards, if it did.
    pub async fn rotate(&self, id: SessionId, generation: u32, now: Moment) -> Option<u32> {
        let (user, version) = match self.stored(id).await {
            Some(session) => (session.user_id, session.session_epoch),
            None => (stranger(), 0),
        };
        let rotation = Rotation {
            id,
            user,
            session_epoch: version,
            generation,
            ip: None,
            user_agent: None,
        };
        self.sql
            .rotate(rotation, &stopped(now))
            .await
            .unwrap()
            .map(|state| state.session.generation)
    }

    pub async fn stored(&self, id: SessionId) -> Option<Session> {
        self.sql.find(id).await.unwrap().map(|state| state.session)
    }

    pub async fn version(&self, user: &User) -> u32 {
        self.sql
            .find_by_username(&name(&user.username))
            .await
            .unwrap()
            .unwrap()
            .session_epoch
    }

    /// As a session of this user finds it: the only way to see whether a user is gone.
    pub async fn user_of(&self, session: &Session) -> Option<User> {
        self.sql.find(session.id).await.unwrap().unwrap().user
    }
}

/// A moment with microseconds, and with nanoseconds that no database keeps.
pub fn start() -> Moment {
    Moment::from_timestamp(1_800_000_000, 123_456_789).unwrap()
}

pub fn after(seconds: i64) -> Moment {
    start() + TimeDelta::seconds(seconds)
}

pub fn cut(moment: Moment) -> Moment {
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

/// The exchange that a token of this generation asks for.
pub fn rotation_of(session: &Session, generation: u32) -> Rotation {
    let (user, version) = (session.user_id.clone(), session.session_epoch);
    Rotation {
        id: session.id,
        user,
        session_epoch: version,
        generation,
        ip: None,
        user_agent: None,
    }
}

/// A clock that stands still.
pub fn stopped(now: Moment) -> Arc<dyn Clock> {
    Arc::new(Stopped(now))
}

struct Stopped(Moment);

impl Clock for Stopped {
    fn now(&self) -> Moment {
        self.0
    }
}

/// What the audit trail is told where a story is about something else.
pub fn told(now: Moment) -> AuditEvent {
    AuditEvent::new(now, EventKind::AllSessionsRevoked, Actor::Service)
}

/// The end of all that a user holds.
pub fn at(id: &UserId, now: Moment) -> RevokeAll {
    RevokeAll {
        id: id.clone(),
        now,
        audit: told(now).of_user(id),
    }
}

pub fn revocation(id: SessionId, reason: RevokedReason, now: Moment) -> Revoke {
    Revoke {
        id,
        of: None,
        reason,
        now,
        audit: told(now).of_session(id),
    }
}

/// Somebody whom no store has heard of.
pub fn stranger() -> UserId {
    UserId::new("nobody")
}
