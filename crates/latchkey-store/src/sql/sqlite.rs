//! Connections to SQLite: a file, and threads for blocking calls.

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
    pool::{PoolLimits, bad_connection, build},
};
use latchkey_domain::ports::StoreError;
use latchkey_files as files;

/// Async connection to SQLite.
pub(super) type AsyncSqliteConnection = SyncConnectionWrapper<SqliteConnection, Threads>;

/// Blocking threads of the pool's runtime. A statement runs to its end even if its request is
/// cancelled.
///
/// The default of diesel-async blocks a cancelled caller until the statement ends, which panics on
/// the single-threaded runtimes of the workers.
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
            let connection = opening
                .await
                .unwrap_or_else(|error| Err(bad_connection(&error)))?;
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

/// Opens the file and creates it if allowed.
///
/// `synchronous=FULL` keeps every answered commit durable: with `NORMAL`, WAL loses the last
/// commits in a power failure. The busy timeout is a little shorter than that of a statement, so
/// that SQLite reports the error.
pub(super) fn open(file: &SqliteFile, timeout: Duration) -> ConnectionResult<SqliteConnection> {
    let path = file.path.to_string_lossy();
    create_file(file).map_err(|error| {
        ConnectionError::BadConnection(format!("{path} cannot be opened: {error}"))
    })?;
    let mut connection = SqliteConnection::establish(&path)?;
    let busy_timeout = timeout * 9 / 10;
    connection
        .batch_execute(&format!(
            "PRAGMA busy_timeout = {}",
            busy_timeout.as_millis()
        ))
        .and_then(|()| switch_to_wal(&mut connection, busy_timeout))
        .and_then(|()| {
            connection.batch_execute("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")
        })
        .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

/// Opens an existing file and keeps its journal mode, because it may be a database of another
/// program.
pub(super) fn open_existing(
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
        ["", "-wal", "-shm", "-journal"].map(|suffix| {
            let mut path = self.path.clone().into_os_string();
            path.push(suffix);
            path.into()
        })
    }

    /// Returns the directory of these files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        }
    }
}

/// Creates the file if allowed, readable by its owner only because it holds password hashes.
///
/// An existing file is not opened here. Closing it would release the locks of all other
/// connections of this process (POSIX), and another program could then discard their writes.
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

/// Switches the file to WAL. SQLite refuses concurrent switches of a new file without the busy
/// timeout, so they are retried here.
fn switch_to_wal(connection: &mut SqliteConnection, busy_timeout: Duration) -> QueryResult<()> {
    let started = Instant::now();
    loop {
        match connection.batch_execute("PRAGMA journal_mode = WAL") {
            Err(Error::DatabaseError(_, information))
                if information.message() == "database is locked"
                    && started.elapsed() < busy_timeout =>
            {
                thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concurrent_openings_of_a_new_file_all_succeed() {
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
