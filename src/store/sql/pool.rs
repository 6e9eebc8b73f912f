//! Connections: two kinds of pool behind one enum, and the macro that writes a query once for both.

use std::{sync::Arc, time::Duration};

use diesel::ConnectionError;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, deadpool::Pool};

use super::{
    DatabaseUrl,
    connect_error::one_line,
    postgres_pool::PostgresPool,
    server_clock::ServerClock,
    sqlite::{self, AsyncSqliteConnection},
    write_health::WriteHealth,
};
use crate::ports::StoreError;

/// How large a pool is and how long anything may take.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Connections at the most.
    pub connections: usize,
    /// Threads of a web server, each of which has connections of its own if there are enough; 0: all share them.
    pub threads: usize,
    /// For connecting, for waiting for a free connection, and for a statement, each.
    pub timeout: Duration,
}

/// How the connections of a pool are used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PoolStatus {
    /// Connections that there are.
    pub open: usize,
    /// Those that nobody uses.
    pub idle: usize,
    /// Connections at the most.
    pub limit: usize,
    /// Who waits for one.
    pub waiting: usize,
}

/// A pool of connections to one of the two databases. Cloning shares it.
#[derive(Clone)]
pub struct SqlPool {
    pub(super) kind: PoolKind,
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

/// Runs `$body` with `$conn`, a connection of either kind, within the time limit of a statement.
///
/// Generic functions over two backends drown in bounds; pasted twice, each query is checked against both.
macro_rules! on_conn {
    ($pool:expr, |$conn:ident| $body:expr) => {{
        let pool = &$pool;
        match &pool.kind {
            $crate::store::sql::pool::PoolKind::Postgres(connections) => {
                $crate::store::sql::pool::with_conn!(
                    connections.connections()?,
                    pool.timeout,
                    |$conn| $body
                )
            }
            $crate::store::sql::pool::PoolKind::Sqlite(connections) => {
                $crate::store::sql::pool::on_sqlite!(connections, pool, |$conn| $body)
            }
        }
    }};
}
pub(super) use on_conn;

/// Runs `$body` with `$conn`, a connection of one pool.
macro_rules! with_conn {
    ($connections:expr, $timeout:expr, |$conn:ident| $body:expr) => {{
        let mut lent = $crate::store::sql::pooled_conn::PooledConn::from_pool($connections).await?;
        let outcome = {
            let $conn = lent.connection()?;
            $crate::store::sql::pool::with_timeout($timeout, async { $body }).await
        };
        lent.release(outcome.is_ok());
        outcome
    }};
}
pub(super) use with_conn;

/// Runs `$body` with `$conn`, a connection to SQLite, and remembers whether the disk took what it wrote.
macro_rules! on_sqlite {
    ($connections:expr, $pool:expr, |$conn:ident| $body:expr) => {{
        let outcome =
            $crate::store::sql::pool::with_conn!($connections, $pool.timeout, |$conn| $body);
        $pool.writes.note(&outcome);
        outcome
    }};
}
pub(super) use on_sqlite;

/// What a statement in `on_conn!` came to: within its time, with the database's own answer inside.
pub(super) async fn with_timeout<T>(
    timeout: Duration,
    statement: impl Future<Output = diesel::QueryResult<T>>,
) -> Result<diesel::QueryResult<T>, StoreError> {
    tokio::time::timeout(timeout, statement)
        .await
        .map_err(|_| StoreError::Unavailable("the database did not answer in time".to_owned()))
}

impl SqlPool {
    /// A pool for `url`. Connects to nothing yet; what threads with a runtime of their own do not drive is driven by
    /// the runtime that this is called on.
    ///
    /// # Errors
    /// When the certificates to trust cannot be read, or the folder of an SQLite file cannot be made.
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
            server_clock,
            timeout: limits.timeout,
            writes,
            limit: limits.connections,
        })
    }

    /// How the connections are used just now.
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

pub(super) fn bad(error: &(dyn std::error::Error + 'static)) -> ConnectionError {
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
