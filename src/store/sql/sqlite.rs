//! Connections to SQLite: a file, and threads that may block.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use diesel::{
    Connection as _, ConnectionError, ConnectionResult, QueryResult, SqliteConnection,
    connection::SimpleConnection as _, result::Error,
};
use diesel_async::{
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod, deadpool::Pool,
    },
    sync_connection_wrapper::{SpawnBlocking, SyncConnectionWrapper},
};
use futures_util::{FutureExt as _, TryFutureExt as _, future::BoxFuture};
use tokio::runtime::Handle;

use super::{
    SqliteFile,
    pool::{PoolLimits, bad, build},
};
use crate::{files, ports::StoreError};

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

pub(super) fn pool(
    file: &SqliteFile,
    limits: PoolLimits,
) -> Result<Pool<AsyncSqliteConnection>, StoreError> {
    let (file, runtime) = (file.clone(), Handle::current());
    let mut manager = ManagerConfig::default();
    manager.recycling_method = RecyclingMethod::Fast;
    manager.custom_setup = Box::new(move |_| {
        let (file, runtime) = (file.clone(), runtime.clone());
        async move {
            let opening = runtime.spawn_blocking(move || open(&file, limits.timeout));
            let connection = opening.await.unwrap_or_else(|error| Err(bad(&error)))?;
            Ok(SyncConnectionWrapper::with_runtime(
                connection,
                Threads(runtime),
            ))
        }
        .boxed()
    });
    build(
        AsyncDieselConnectionManager::new_with_config("sqlite", manager),
        limits,
    )
}

/// Opens the file.
///
/// `synchronous=FULL`: with `NORMAL`, WAL loses the last commits at a power cut, and an answer that was sent is durable.
/// A writer waits for the others a little less than a statement may take, so that it is SQLite who gives up.
pub(super) fn open(file: &SqliteFile, timeout: Duration) -> ConnectionResult<SqliteConnection> {
    let path = file.path.to_string_lossy();
    create_file(file).map_err(|error| {
        ConnectionError::BadConnection(format!("{path} cannot be opened: {error}"))
    })?;
    let mut connection = SqliteConnection::establish(&path)?;
    let patience = timeout * 9 / 10;
    connection
        .batch_execute(&format!("PRAGMA busy_timeout = {}", patience.as_millis()))
        .and_then(|()| write_ahead(&mut connection, patience))
        .and_then(|()| {
            connection.batch_execute("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")
        })
        .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

/// Opens a file that exists, and leaves its journal mode as it is: it may be a database of another program.
pub(super) fn open_to_look(
    file: &SqliteFile,
    timeout: Duration,
) -> ConnectionResult<SqliteConnection> {
    let path = file.path.to_string_lossy();
    fs::metadata(&file.path).map_err(|error| {
        ConnectionError::BadConnection(format!("{path} cannot be opened: {error}"))
    })?;
    let mut connection = SqliteConnection::establish(&path)?;
    connection
        .batch_execute(&format!("PRAGMA busy_timeout = {}", timeout.as_millis()))
        .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

impl SqliteFile {
    /// Returns the database file and the files that SQLite keeps beside it.
    #[must_use]
    pub fn paths(&self) -> [PathBuf; 4] {
        ["", "-wal", "-shm", "-journal"].map(|end| {
            let mut path = self.path.clone().into_os_string();
            path.push(end);
            path.into()
        })
    }

    /// Returns their directory.
    #[must_use]
    pub fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        }
    }
}

/// Makes the file if it may be made, readable by its owner alone: it holds password hashes.
///
/// A file that is there is not opened: to close it again would take the locks of all other connections of this process
/// with it, and the next program that looked at the database would throw away what they write.
fn create_file(file: &SqliteFile) -> io::Result<()> {
    if !file.create {
        return fs::metadata(&file.path).map(drop);
    }
    if let Some(folder) = file.path.parent() {
        files::create_folders(folder)?;
    }
    match files::create_new(&file.path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Of several that would switch a new file to WAL at once, SQLite refuses all but one without waiting.
fn write_ahead(connection: &mut SqliteConnection, patience: Duration) -> QueryResult<()> {
    let started = Instant::now();
    loop {
        match connection.batch_execute("PRAGMA journal_mode = WAL") {
            Err(Error::DatabaseError(_, information))
                if information.message() == "database is locked"
                    && started.elapsed() < patience =>
            {
                thread::sleep(Duration::from_millis(10));
            }
            switched => return switched,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_that_open_a_new_file_at_once_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..25 {
            let file = SqliteFile {
                path: folder.path().join(round.to_string()),
                create: true,
            };
            thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| open(&file, Duration::from_mins(1)).map(drop).unwrap());
                }
            });
        }
    }
}
