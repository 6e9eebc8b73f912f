//! Migrations, embedded in the binary. A database that was migrated by a newer version is refused.

use std::time::Duration;

use diesel::{
    backend::Backend,
    dsl::sql,
    migration::MigrationSource,
    pg::Pg,
    result::{DatabaseErrorKind, Error as DieselError},
    sql_types::Bool,
    sqlite::Sqlite,
};
use diesel_async::{
    AsyncConnection, AsyncMigrationHarness, AsyncPgConnection, SimpleAsyncConnection as _,
    TransactionManager as _,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::{ConnectError, DatabaseUrl, connector::PgConnector, pooler, server, sqlite};
use latchkey_domain::ports::StoreError;

const POSTGRES: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");
const SQLITE: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");

type Manager = <AsyncPgConnection as AsyncConnection>::TransactionManager;

/// Advisory lock, with an arbitrary number, so that concurrent starts migrate one after the other.
const ADVISORY_LOCK: i64 = 0x6c61_7463_686b_6579;

/// Error for a database that another application uses.
pub(super) const FOREIGN: &str = "it has tables of another application: name an empty database in the URL, or on Postgres an empty \
                       schema by options=-csearch_path%3DSCHEMA";

/// Applied and pending migrations.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MigrationStatus {
    /// Versions applied to the database, oldest first.
    pub applied: Vec<String>,
    /// Names of the migrations that this binary would run.
    pub pending: Vec<String>,
    /// Applied versions that this binary does not know, because a newer version ran them.
    pub unknown: Vec<String>,
}

/// Treatment of a database without the tables of Latchkey.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    /// Creates the file and the tables.
    Create,
    /// Refuses it. Runs the pending migrations of any other database.
    Upgrade,
    /// Reports all migrations as pending.
    Inspect,
}

/// Error of a migration.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database has no tables of Latchkey.
    #[error("the database has no tables of Latchkey")]
    Empty,
    /// The connection failed.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The database has a migration that this binary does not know.
    #[error(
        "the database was migrated by a newer version of latchkey (it has {0}, unknown here): start that version"
    )]
    Newer(String),
    /// A query failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for MigrateError {
    fn from(error: diesel::result::Error) -> Self {
        super::error::from_query(error).into()
    }
}

/// Runs pending migrations and returns their names.
///
/// # Errors
/// [`MigrateError`].
pub async fn run(url: &DatabaseUrl, timeout: Duration) -> Result<Vec<String>, MigrateError> {
    Ok(migrate(url, timeout, Mode::Create).await?.pending)
}

/// Like [`run`], but refuses a database without tables.
///
/// # Errors
/// [`MigrateError`].
pub async fn upgrade(url: &DatabaseUrl, timeout: Duration) -> Result<Vec<String>, MigrateError> {
    Ok(migrate(url, timeout, Mode::Upgrade).await?.pending)
}

/// Returns the applied and the pending migrations. Changes nothing.
///
/// # Errors
/// [`MigrateError::Connect`], [`MigrateError::Store`].
pub async fn status(url: &DatabaseUrl, timeout: Duration) -> Result<MigrationStatus, MigrateError> {
    migrate(url, timeout, Mode::Inspect).await
}

async fn migrate(
    url: &DatabaseUrl,
    timeout: Duration,
    mode: Mode,
) -> Result<MigrationStatus, MigrateError> {
    match url {
        DatabaseUrl::Postgres(url) => {
            let driver = PgConnector::new(url, timeout)?;
            let mut connection = driver.connect().await?;
            if mode != Mode::Create {
                use diesel_async::RunQueryDsl as _;
                let known = diesel::select(sql::<Bool>(
                    "to_regclass('__diesel_schema_migrations') IS NOT NULL",
                ));
                if !known.get_result::<bool>(&mut connection).await? {
                    return without_tables::<Pg>(&POSTGRES, mode);
                }
            }
            if driver.is_pooled() {
                pooler::check(&driver, timeout).await?;
            }
            Manager::begin_transaction(&mut connection).await?;
            locked(&mut connection, timeout).await?;
            server::check(&mut connection).await?;
            let (mut connection, status) = blocking(move || {
                let mut harness = AsyncMigrationHarness::new(connection);
                let status = examine::<Pg, _>(&mut harness, POSTGRES, mode)?;
                Ok((harness.into_inner(), status))
            })
            .await?;
            Manager::commit_transaction(&mut connection).await?;
            Ok(status)
        }
        DatabaseUrl::Sqlite(file) => {
            let file = file.clone();
            if mode == Mode::Inspect && file.create && !file.path.exists() {
                return without_tables::<Sqlite>(&SQLITE, mode);
            }
            blocking(move || {
                let failed = |error: diesel::ConnectionError| StoreError::Failed(error.to_string());
                if mode != Mode::Create {
                    use diesel::RunQueryDsl as _;
                    let mut connection = sqlite::open_existing(&file, timeout).map_err(failed)?;
                    let query = "EXISTS (SELECT 1 FROM sqlite_master WHERE name = '__diesel_schema_migrations')";
                    if !diesel::select(sql::<Bool>(query)).get_result::<bool>(&mut connection)? {
                        return without_tables::<Sqlite>(&SQLITE, mode);
                    }
                }
                let mut connection = sqlite::open(&file, timeout).map_err(failed)?;
                // Write lock of the file: of two concurrent starts, one migrates and the other
                // finds nothing pending.
                connection.immediate_transaction(|connection| examine::<Sqlite, _>(connection, SQLITE, mode))
            })
            .await
        }
    }
}

/// Takes a lock that ends with the transaction. A lock of the session would stay in a pooler's
/// connection.
async fn locked(connection: &mut AsyncPgConnection, timeout: Duration) -> Result<(), MigrateError> {
    let lock = format!(
        "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; \
         SET LOCAL lock_timeout = {}; SELECT pg_advisory_xact_lock({ADVISORY_LOCK}); SET LOCAL lock_timeout = 0",
        timeout.as_millis() * 9 / 10
    );
    connection.batch_execute(&lock).await.map_err(|error| {
        StoreError::Unavailable(format!(
            "another process holds the migration lock ({error})"
        ))
        .into()
    })
}

/// Returns the status before, and runs pending migrations except in [`Mode::Inspect`].
fn examine<B: Backend, H: MigrationHarness<B>>(
    harness: &mut H,
    embedded: EmbeddedMigrations,
    mode: Mode,
) -> Result<MigrationStatus, MigrateError>
where
    EmbeddedMigrations: MigrationSource<B>,
{
    let all = MigrationSource::<B>::migrations(&embedded).map_err(failed)?;
    let mut applied: Vec<String> = harness
        .applied_migrations()
        .map_err(failed)?
        .iter()
        .map(ToString::to_string)
        .collect();
    applied.sort();
    let mut status = MigrationStatus {
        applied,
        ..MigrationStatus::default()
    };
    for version in &status.applied {
        if !all
            .iter()
            .any(|migration| migration.name().version().to_string() == *version)
        {
            status.unknown.push(version.clone());
        }
    }
    for migration in &all {
        if !status
            .applied
            .contains(&migration.name().version().to_string())
        {
            status.pending.push(migration.name().to_string());
        }
    }
    if mode == Mode::Upgrade && status.applied.is_empty() {
        return Err(MigrateError::Empty);
    }
    let foreign = !status.applied.is_empty() && status.unknown.len() == status.applied.len();
    if foreign {
        return Err(ConnectError::Refused(FOREIGN.to_owned()).into());
    }
    if mode != Mode::Inspect {
        if let Some(version) = status.unknown.last() {
            return Err(MigrateError::Newer(version.clone()));
        }
        harness.run_pending_migrations(embedded).map_err(failed)?;
    }
    Ok(status)
}

/// Returns the result for a database without tables, which is not changed.
fn without_tables<B: Backend>(
    embedded: &EmbeddedMigrations,
    mode: Mode,
) -> Result<MigrationStatus, MigrateError>
where
    EmbeddedMigrations: MigrationSource<B>,
{
    if mode != Mode::Inspect {
        return Err(MigrateError::Empty);
    }
    let all = MigrationSource::<B>::migrations(embedded).map_err(failed)?;
    let mut pending: Vec<_> = all
        .iter()
        .map(|migration| migration.name().to_string())
        .collect();
    pending.sort();
    Ok(MigrationStatus {
        pending,
        ..MigrationStatus::default()
    })
}

/// Runs blocking work on a separate thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MigrateError> + Send + 'static,
) -> Result<T, MigrateError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::Failed(error.to_string()).into()),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "map_err passes the error by value"
)]
fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> MigrateError {
    // Since Postgres 15, the most common error: the user may connect and may not create tables.
    match error.downcast_ref() {
        Some(DieselError::DatabaseError(DatabaseErrorKind::Unknown, reply))
            if reply.message().starts_with("permission denied") =>
        {
            let (text, remedy) = (
                reply.message(),
                "grant it to the user of the URL, or make them the owner",
            );
            ConnectError::Refused(format!("{text}: {remedy}")).into()
        }
        Some(DieselError::DatabaseError(DatabaseErrorKind::Unknown, reply))
            if reply.message().starts_with("must be owner of") =>
        {
            let text = reply.message();
            ConnectError::Refused(format!(
                "{text}: run `latchkey migrate run` with the URL of its owner (docs/guides/postgres.md)"
            ))
            .into()
        }
        _ if error.to_string().contains("already exists") => {
            ConnectError::Refused(FOREIGN.to_owned()).into()
        }
        _ => StoreError::Unavailable(format!("a migration failed: {error}")).into(),
    }
}
