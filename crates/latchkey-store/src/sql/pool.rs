//! Connection pools of both databases behind one enum, and the macro that compiles a query for
//! both.

use std::{sync::Arc, time::Duration};

use diesel::ConnectionError;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, deadpool::Pool};

use super::{
    DatabaseUrl,
    connect_error::one_line,
    pooled_conn::QUEUE_CAPACITY,
    postgres_pool::PostgresPool,
    server_clock::ServerClock,
    sqlite::{self, AsyncSqliteConnection},
    write_health::WriteHealth,
};
use latchkey_domain::ports::StoreError;

/// Size and timeout of a pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Maximum number of connections.
    pub connections: usize,
    /// Workers, each of which has its own connections if there are enough. 0: all threads share one
    /// pool.
    pub threads: usize,
    /// Timeout of a connection attempt, of the wait for a free connection, and of a statement.
    pub timeout: Duration,
}

/// Current use of the connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PoolStatus {
    /// Open connections.
    pub open: usize,
    /// Idle connections.
    pub idle: usize,
    /// Maximum number of connections.
    pub limit: usize,
    /// Requests waiting for a connection.
    pub waiting: usize,
}

/// Pool of connections to one of the two databases. Clones share it.
#[derive(Clone)]
pub struct SqlPool {
    pub(super) kind: PoolKind,
    pub(super) queue_capacity: usize,
    pub(super) server_clock: ServerClock,
    pub(super) timeout: Duration,
    pub(super) writes: Arc<WriteHealth>,
    limit: usize,
}

#[derive(Clone)]
pub(super) enum PoolKind {
    Postgres(PostgresPool),
    Sqlite(Pool<AsyncSqliteConnection>),
}

/// Runs `$body` with a connection `$conn` of either kind, within the timeout of a statement.
///
/// A macro, because functions generic over both backends need unwieldy bounds. The expansion is
/// checked for each backend.
macro_rules! on_conn {
    ($pool:expr, |$conn:ident| $body:expr) => {{
        let pool = &$pool;
        match &pool.kind {
            $crate::sql::pool::PoolKind::Postgres(connections) => {
                $crate::sql::pool::with_conn!(connections.connections(), pool, |$conn| $body)
            }
            $crate::sql::pool::PoolKind::Sqlite(connections) => {
                $crate::sql::pool::on_sqlite!(connections, pool, |$conn| $body)
            }
        }
    }};
}
pub(super) use on_conn;

/// Runs `$body` with a connection `$conn` from `$connections`, within the limits of `$pool`.
macro_rules! with_conn {
    ($connections:expr, $pool:expr, |$conn:ident| $body:expr) => {{
        let mut pooled =
            $crate::sql::pooled_conn::PooledConn::from_pool($connections, $pool.queue_capacity)
                .await?;
        let outcome = {
            let $conn = pooled.connection()?;
            $crate::sql::pool::with_timeout($pool.timeout, async { $body }).await
        };
        pooled.release(outcome.is_ok());
        outcome
    }};
}
pub(super) use with_conn;

/// Runs `$body` with a connection `$conn` to SQLite, and records a failure of the disk.
macro_rules! on_sqlite {
    ($connections:expr, $pool:expr, |$conn:ident| $body:expr) => {{
        let outcome = $crate::sql::pool::with_conn!($connections, $pool, |$conn| $body);
        $pool.writes.record(&outcome);
        outcome
    }};
}
pub(super) use on_sqlite;

/// Awaits a statement within the timeout. The inner result is the database's.
pub(super) async fn with_timeout<T>(
    timeout: Duration,
    statement: impl Future<Output = diesel::QueryResult<T>>,
) -> Result<diesel::QueryResult<T>, StoreError> {
    tokio::time::timeout(timeout, statement)
        .await
        .map_err(|_| StoreError::Unavailable("the database did not reply in time".to_owned()))
}

impl SqlPool {
    /// Creates the shared pool for `url` without connecting. The current runtime drives its
    /// connections.
    ///
    /// # Errors
    /// CA certificates that cannot be read, or a directory of an SQLite file that cannot be
    /// created.
    pub fn open(url: &DatabaseUrl, limits: PoolLimits) -> Result<Self, StoreError> {
        let server_clock = ServerClock::default();
        let kind = match url {
            DatabaseUrl::Postgres(url) => {
                PoolKind::Postgres(PostgresPool::open(url, limits, &server_clock)?)
            }
            DatabaseUrl::Sqlite(file) => PoolKind::Sqlite(sqlite::pool(file, limits)?),
        };
        let writes = Arc::default();
        Ok(Self {
            kind,
            queue_capacity: 2 * QUEUE_CAPACITY,
            server_clock,
            timeout: limits.timeout,
            writes,
            limit: limits.connections,
        })
    }

    /// Returns the pool of a worker of the web server: with its own connections if there are
    /// enough, else with the shared ones. The current runtime, which is the worker's, drives its
    /// connections, so no request needs a wake-up of another thread.
    ///
    /// # Errors
    /// A pool that cannot be created.
    pub fn for_worker(&self) -> Result<Self, StoreError> {
        let kind = match &self.kind {
            PoolKind::Postgres(pool) => PoolKind::Postgres(pool.for_worker()?),
            PoolKind::Sqlite(pool) => PoolKind::Sqlite(pool.clone()),
        };
        Ok(Self {
            kind,
            queue_capacity: QUEUE_CAPACITY,
            ..self.clone()
        })
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (PoolKind::Postgres(one), PoolKind::Postgres(other)) => one.is_same(other),
            _ => true,
        }
    }

    /// Returns the current use of the connections.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        match &self.kind {
            PoolKind::Postgres(pools) => pools.status(self.limit),
            PoolKind::Sqlite(pool) => {
                let status = pool.status();
                PoolStatus {
                    open: status.size,
                    idle: status.available,
                    limit: self.limit,
                    waiting: status.waiting,
                }
            }
        }
    }
}

pub(super) fn bad_connection(error: &(dyn std::error::Error + 'static)) -> ConnectionError {
    ConnectionError::BadConnection(one_line(error))
}

pub(super) fn build<C>(
    manager: AsyncDieselConnectionManager<C>,
    limits: PoolLimits,
) -> Result<Pool<C>, StoreError>
where
    AsyncDieselConnectionManager<C>:
        deadpool::managed::Manager<Type = C, Error = diesel_async::pooled_connection::PoolError>,
    C: diesel_async::AsyncConnection + 'static,
{
    Pool::builder(manager)
        .max_size(limits.connections)
        .wait_timeout(Some(limits.timeout))
        .create_timeout(Some(limits.timeout))
        .recycle_timeout(Some(limits.timeout))
        .runtime(deadpool::Runtime::Tokio1)
        .build()
        .map_err(|error| StoreError::Failed(error.to_string()))
}
