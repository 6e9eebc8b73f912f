//! One implementation for Postgres and SQLite. Each query is written once and type-checked for
//! both.

mod audit;
mod clear_text;
mod connect_error;
mod connection_settings;
mod connector;
mod deployment;
mod error;
mod keys;
pub mod migrate;
pub mod pool;
mod pooled_conn;
mod pooler;
mod postgres_pool;
mod postgres_url;
pub mod rotation;
mod rows;
mod schema;
mod server;
mod server_clock;
mod server_time;
mod sessions;
mod sign_in;
mod sqlite;
mod tls;
mod tls_error;
mod url;
mod users;
mod write_health;

pub use connect_error::ConnectError;
pub use pool::{PoolStatus, SqlPool};

pub use url::{DatabaseUrl, DatabaseUrlError, SqliteFile};

use latchkey_domain::{ports::StoreError, time::Moment};

/// Role of the database server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Role {
    /// Name of the role.
    pub name: String,
    /// True for a superuser, who bypasses all rules.
    pub superuser: bool,
}

/// Store in a database: sessions, users, keys and the audit trail. Clones share the pool.
#[derive(Clone)]
pub struct SqlStore {
    pool: SqlPool,
}

impl SqlStore {
    /// Returns a store that uses `pool`.
    #[must_use]
    pub const fn new(pool: SqlPool) -> Self {
        Self { pool }
    }

    /// Returns the store of a worker of the web server, whose connections the current runtime
    /// drives.
    ///
    /// # Errors
    /// A pool that cannot be created.
    pub fn for_worker(&self) -> Result<Self, StoreError> {
        Ok(Self {
            pool: self.pool.for_worker()?,
        })
    }

    /// Returns true if both stores use the same connections.
    #[must_use]
    pub fn shares_pool_with(&self, other: &Self) -> bool {
        self.pool.is_same(&other.pool)
    }

    /// Returns the current use of the connections.
    #[must_use]
    pub fn pool_status(&self) -> PoolStatus {
        self.pool.status()
    }

    /// Returns the role that runs statements.
    ///
    /// # Errors
    /// A failed query.
    pub async fn role(&self) -> Result<Role, StoreError> {
        use diesel::sql_types::{Bool, Text};
        use diesel_async::RunQueryDsl as _;
        // SQLite has no roles.
        let (name, superuser) = match self.pool.kind {
            pool::PoolKind::Postgres(_) => (
                "current_user::text",
                "current_setting('is_superuser') = 'on'",
            ),
            pool::PoolKind::Sqlite(_) => ("''", "0"),
        };
        let role = diesel::select((
            diesel::dsl::sql::<Text>(name),
            diesel::dsl::sql::<Bool>(superuser),
        ));
        let (name, superuser) = pool::on_conn!(self.pool, |conn| role.get_result(conn).await)?
            .map_err(error::from_query)?;
        Ok(Role { name, superuser })
    }

    /// Returns the time of the server's clock in UTC.
    ///
    /// # Errors
    /// A failed query.
    pub async fn server_time(&self) -> Result<Moment, StoreError> {
        use diesel_async::RunQueryDsl as _;
        let now = diesel::select(diesel::dsl::sql::<diesel::sql_types::Timestamp>(match self
            .pool
            .kind
        {
            pool::PoolKind::Postgres(_) => "(clock_timestamp() AT TIME ZONE 'UTC')::timestamp",
            pool::PoolKind::Sqlite(_) => "strftime('%Y-%m-%d %H:%M:%f', 'now')",
        }));
        let time: chrono::NaiveDateTime =
            pool::on_conn!(self.pool, |conn| now.get_result(conn).await)?
                .map_err(error::from_query)?;
        Ok(time.and_utc())
    }
}
