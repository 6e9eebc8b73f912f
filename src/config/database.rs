//! Settings of the database.

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args};
use secrecy::{ExposeSecret as _, SecretString};

use super::{ConfigError, environment::secret, exposure::refuse_foreign_writers, value};
use latchkey_store::sql::{DatabaseUrl, DatabaseUrlError, SqliteFile, pool::PoolLimits};

const PRIVATE_FILE: &str = "a file and a directory that no other user can write to";

/// Maximum timeout. The replay of entries goes back far enough for statements of this length.
const MAX_TIMEOUT: Duration = Duration::from_secs(30);

fn timeout(text: &str) -> Result<Duration, String> {
    match value::positive_duration(text) {
        Ok(timeout) if timeout <= MAX_TIMEOUT => Ok(timeout),
        _ => Err("expected a duration up to 30s, such as 5s".to_owned()),
    }
}

/// Database of users, sessions and the audit trail.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Database")]
pub struct DatabaseConfig {
    /// postgres://USER:PASSWORD@HOST,HOST/DATABASE or sqlite://PATH; without it, a file in the data
    /// directory
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<SecretString>,

    /// File that holds the database URL, instead of the URL itself
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "PATH")]
    pub database_url_file: Option<PathBuf>,

    /// Directory of the embedded database
    #[arg(
        long,
        env = "LATCHKEY_DATA_DIR",
        value_name = "PATH",
        default_value = "data"
    )]
    pub data_dir: PathBuf,

    /// Maximum number of connections to the database. With Postgres, each worker has a pool of its
    /// own if there are three connections for each and three more; otherwise, all workers share one
    /// pool
    #[arg(long, env = "LATCHKEY_DATABASE_POOL_SIZE", value_name = "NUMBER", default_value = "16", value_parser = value::number::<u16>(1..=1000))]
    pub database_pool_size: u16,

    /// Time limit for connecting, for waiting for a free connection, and for a statement, each. An
    /// idle connection to a lost server is detected within twice that time
    #[arg(long, env = "LATCHKEY_DATABASE_TIMEOUT", value_name = "DURATION", default_value = "5s", value_parser = timeout)]
    pub database_timeout: Duration,

    /// Combine concurrent refreshes into one statement on Postgres; false gives each a statement of
    /// its own
    #[arg(
        long,
        env = "LATCHKEY_COALESCE_ROTATIONS",
        value_name = "BOOL",
        default_value = "true",
        action = ArgAction::Set
    )]
    pub coalesce_rotations: bool,
}

impl DatabaseConfig {
    /// Returns the URL of the database. Without one, it is the embedded database.
    ///
    /// # Errors
    /// If the URL is invalid, its file cannot be read, or the SQLite file does not exist or can be
    /// changed by other users.
    pub fn url(&self) -> Result<DatabaseUrl, ConfigError> {
        let given = secret(
            "DATABASE_URL",
            self.database_url.as_ref(),
            self.database_url_file.as_deref(),
        )?;
        let Some(url) = given else {
            let file = SqliteFile {
                path: self.data_dir.join("latchkey.db"),
                create: true,
            };
            return private("LATCHKEY_DATA_DIR", file);
        };
        let url = url
            .expose_secret()
            .parse()
            .map_err(|error: DatabaseUrlError| {
                ConfigError::new(
                    "DATABASE_URL",
                    "is not the URL of a database",
                    &error.to_string(),
                )
            })?;
        match url {
            DatabaseUrl::Sqlite(SqliteFile {
                path,
                create: false,
            }) if !path.is_file() => Err(ConfigError::new(
                "DATABASE_URL",
                &format!("names {}, which is not a file", path.display()),
                "an existing file, or ?mode=rwc at the end to create it",
            )),
            DatabaseUrl::Sqlite(file) => private("DATABASE_URL", file),
            url @ DatabaseUrl::Postgres(_) => Ok(url),
        }
    }

    /// Returns the database for a command that does not create one. The path of an SQLite file is
    /// absolute.
    ///
    /// # Errors
    /// Errors of [`url`](Self::url), and an SQLite file that does not exist.
    pub fn existing(&self) -> Result<DatabaseUrl, ConfigError> {
        let DatabaseUrl::Sqlite(file) = self.url()? else {
            return self.url();
        };
        let path = std::path::absolute(&file.path).unwrap_or(file.path);
        if path.is_file() {
            return Ok(DatabaseUrl::Sqlite(SqliteFile {
                path,
                create: false,
            }));
        }
        let embedded = self.database_url.is_none() && self.database_url_file.is_none();
        let (name, right) = if embedded {
            (
                "LATCHKEY_DATA_DIR",
                "the data directory of the server, or DATABASE_URL",
            )
        } else {
            ("DATABASE_URL", "the URL that the server uses")
        };
        let right = format!(
            "{right}; run the command in the working directory of the server, or create a database with latchkey migrate run"
        );
        Err(ConfigError::new(
            name,
            &format!("is set to {}, which does not exist", path.display()),
            &right,
        ))
    }

    /// True if the SQLite file does not exist yet.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self.url(), Ok(DatabaseUrl::Sqlite(file)) if !file.path.is_file())
    }

    /// Limits of the pool of a command that is not the server.
    #[must_use]
    pub fn limits(&self) -> PoolLimits {
        self.limits_for(0)
    }

    /// Limits of the pool of a server with `threads` workers.
    #[must_use]
    pub fn limits_for(&self, threads: usize) -> PoolLimits {
        PoolLimits {
            connections: usize::from(self.database_pool_size),
            threads,
            timeout: self.database_timeout,
        }
    }
}

/// Refuses a database that other users can write to: its contents cannot be trusted.
fn private(setting: &str, file: SqliteFile) -> Result<DatabaseUrl, ConfigError> {
    refuse_foreign_writers(&file.paths(), file.folder()).map_err(|wrong| {
        ConfigError::new(setting, &format!("cannot be used: {wrong}"), PRIVATE_FILE)
    })?;
    Ok(DatabaseUrl::Sqlite(file))
}
