//! Migrations, embedded in the binary. A database that a newer binary has changed is refused.

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
use crate::ports::StoreError;

const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");
const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

type Manager = <AsyncPgConnection as AsyncConnection>::TransactionManager;

/// Any number that nobody else locks: several instances that start at once migrate one after the other.
const LOCK: i64 = 0x6c61_7463_686b_6579;

/// The message about a database that is in use by another program.
pub(super) const FOREIGN: &str = "it has tables of another application: name an empty database in the URL, or on Postgres an empty \
                       schema by options=-csearch_path%3DSCHEMA";

/// What was done and what is left to do.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MigrationStatus {
    /// Versions that the database has, the oldest first.
    pub applied: Vec<String>,
    /// Names of those that this binary would run.
    pub pending: Vec<String>,
    /// Versions that this binary does not know: a newer one was here.
    pub unknown: Vec<String>,
}

/// The treatment of a database without the tables of Latchkey.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    /// It gets them, and its file is created.
    Create,
    /// It is refused. Pending migrations of another one are run.
    Upgrade,
    /// All migrations are reported as pending.
    Look,
}

/// Why the database was not migrated.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database has none of the tables of Latchkey.
    #[error("the database has no tables of Latchkey")]
    Empty,
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The database knows a migration that this binary does not.
    #[error(
        "the database was migrated by a newer version of latchkey (it has {0}, unknown here): start that version"
    )]
    Newer(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for MigrateError {
    fn from(error: diesel::result::Error) -> Self {
        super::error::from_query(error).into()
    }
}

/// Runs what is pending, and says what it ran.
///
/// # Errors
/// [`MigrateError`].
pub async fn run(url: &DatabaseUrl, timeout: Duration) -> Result<Vec<String>, MigrateError> {
    Ok(migrate(url, timeout, Mode::Create).await?.pending)
}

/// As [`run`], for a database that is in use already: an empty one is refused.
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
    migrate(url, timeout, Mode::Look).await
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
            if mode == Mode::Look && file.create && !file.path.exists() {
                return without_tables::<Sqlite>(&SQLITE, mode);
            }
            blocking(move || {
                let failed = |error: diesel::ConnectionError| StoreError::Failed(error.to_string());
                if mode != Mode::Create {
                    use diesel::RunQueryDsl as _;
                    let mut connection = sqlite::open_to_look(&file, timeout).map_err(failed)?;
                    let query = "EXISTS (SELECT 1 FROM sqlite_master WHERE name = '__diesel_schema_migrations')";
                    if !diesel::select(sql::<Bool>(query)).get_result::<bool>(&mut connection)? {
                        return without_tables::<Sqlite>(&SQLITE, mode);
                    }
                }
                let mut connection = sqlite::open(&file, timeout).map_err(failed)?;
                // The file's write lock: of two that start at once, one migrates and the other finds it done.
                connection.immediate_transaction(|connection| examine::<Sqlite, _>(connection, SQLITE, mode))
            })
            .await
        }
    }
}

/// Takes a lock that ends with the transaction: that of a session would stay in the pool of a pooler.
async fn locked(connection: &mut AsyncPgConnection, timeout: Duration) -> Result<(), MigrateError> {
    let lock = format!(
        "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; \
         SET LOCAL lock_timeout = {}; SELECT pg_advisory_xact_lock({LOCK}); SET LOCAL lock_timeout = 0",
        timeout.as_millis() * 9 / 10
    );
    connection.batch_execute(&lock).await.map_err(|error| {
        StoreError::Unavailable(format!(
            "another process holds the lock of the migrations ({error})"
        ))
        .into()
    })
}

/// The status before, and if asked the migrations themselves.
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
    if mode != Mode::Look {
        if let Some(version) = status.unknown.last() {
            return Err(MigrateError::Newer(version.clone()));
        }
        harness.run_pending_migrations(embedded).map_err(failed)?;
    }
    Ok(status)
}

/// The result for a database without tables, which are not made.
fn without_tables<B: Backend>(
    embedded: &EmbeddedMigrations,
    mode: Mode,
) -> Result<MigrationStatus, MigrateError>
where
    EmbeddedMigrations: MigrationSource<B>,
{
    if mode != Mode::Look {
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

/// The harness blocks its thread, so it gets one of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MigrateError> + Send + 'static,
) -> Result<T, MigrateError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::Failed(error.to_string()).into()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands it over")]
fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> MigrateError {
    // Since Postgres 15 the commonest one: the user may connect, and make no table.
    match error.downcast_ref() {
        Some(DieselError::DatabaseError(DatabaseErrorKind::Unknown, answer))
            if answer.message().starts_with("permission denied") =>
        {
            let (text, what_to_do) = (
                answer.message(),
                "grant it to the user of the URL, or make them the owner",
            );
            ConnectError::Refused(format!("{text}: {what_to_do}")).into()
        }
        Some(DieselError::DatabaseError(DatabaseErrorKind::Unknown, answer))
            if answer.message().starts_with("must be owner of") =>
        {
            let text = answer.message();
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
