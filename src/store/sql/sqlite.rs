//! Connections to SQLite: a file, and threads that may block.

use std::time::Duration;

use diesel::{Connection as _, ConnectionError, ConnectionResult, SqliteConnection, connection::SimpleConnection as _};
use diesel_async::{
    pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod, deadpool::Pool},
    sync_connection_wrapper::{SpawnBlocking, SyncConnectionWrapper},
};
use futures_util::{FutureExt as _, TryFutureExt as _, future::BoxFuture};
use tokio::runtime::Handle;

use super::{
    SqliteFile,
    pool::{PoolLimits, bad, build},
};
use crate::ports::StoreError;

/// An async connection to SQLite.
pub(super) type AsyncSqliteConnection = SyncConnectionWrapper<SqliteConnection, Threads>;

/// The threads of the pool's runtime, where each statement runs to its end whoever waits for it.
///
/// diesel-async's own choice makes whoever stops waiting wait all the same, which panics on the single-threaded
/// runtimes of the web server.
pub(super) struct Threads(Handle);

impl SpawnBlocking for Threads {
    fn spawn_blocking<'a, R>(
        &mut self,
        task: impl FnOnce() -> R + Send + 'static,
    ) -> BoxFuture<'a, Result<R, Box<dyn std::error::Error + Send + Sync + 'static>>>
    where
        R: Send + 'static,
    {
        self.0.spawn_blocking(task).map_err(Box::from).boxed()
    }

    fn get_runtime() -> Self {
        Self(Handle::current())
    }
}

pub(super) fn pool(file: &SqliteFile, limits: PoolLimits) -> Result<Pool<AsyncSqliteConnection>, StoreError> {
    let (file, runtime) = (file.clone(), Handle::current());
    let mut manager = ManagerConfig::default();
    manager.recycling_method = RecyclingMethod::Fast;
    manager.custom_setup = Box::new(move |_| {
        let (file, runtime) = (file.clone(), runtime.clone());
        async move {
            let opening = runtime.spawn_blocking(move || open(&file, limits.timeout));
            let connection = opening.await.unwrap_or_else(|error| Err(bad(&error)))?;
            Ok(SyncConnectionWrapper::with_runtime(connection, Threads(runtime)))
        }
        .boxed()
    });
    build(AsyncDieselConnectionManager::new_with_config("sqlite", manager), limits)
}

/// Opens the file, readable by its owner alone: it holds password hashes.
///
/// `synchronous=FULL`: with `NORMAL`, WAL loses the last commits at a power cut, and an answer that was sent is durable.
/// A writer waits for the others a little less than a statement may take, so that it is SQLite who gives up.
pub(super) fn open(file: &SqliteFile, timeout: Duration) -> ConnectionResult<SqliteConnection> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = file.path.to_string_lossy();
    let cannot = |error: std::io::Error| ConnectionError::BadConnection(format!("{path} cannot be opened: {error}"));
    if let Some(folder) = file.path.parent().filter(|_| file.create) {
        std::fs::create_dir_all(folder).map_err(cannot)?;
    }
    std::fs::OpenOptions::new()
        .create(file.create)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&file.path)
        .map_err(cannot)?;
    let mut connection = SqliteConnection::establish(&path)?;
    connection
        .batch_execute(&format!(
            "PRAGMA busy_timeout = {}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;",
            timeout.as_millis() * 9 / 10
        ))
        .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}
