//! The database.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};

use super::{ConfigError, environment::secret, exposure::refuse_foreign_writers, value};
use crate::store::sql::{DatabaseUrl, DatabaseUrlError, SqliteFile, pool::PoolLimits};

const OWN_FILE: &str = "a file and a directory that no other user can write to";

/// Others look for late revocations as far back as this allows.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(30);

fn timeout(text: &str) -> Result<Duration, String> {
    match value::positive_duration(text) {
        Ok(timeout) if timeout <= LONGEST_TIMEOUT => Ok(timeout),
        _ => Err("expected a span of time up to 30s, such as 5s".to_owned()),
    }
}

/// Where users and sessions live.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Database")]
pub struct DatabaseConfig {
    /// postgres://USER:PASSWORD@HOST,HOST/DATABASE or sqlite://PATH; without it, a file in the data directory
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<SecretString>,

    /// File that holds the database URL, instead of the URL itself
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "PATH")]
    pub database_url_file: Option<PathBuf>,

    /// Where the embedded database is kept
    #[arg(
        long,
        env = "LATCHKEY_DATA_DIR",
        value_name = "PATH",
        default_value = "data"
    )]
    pub data_dir: PathBuf,

    /// Connections to the database at the most. With Postgres each worker has its own if there are three for each and
    /// three more, which saves it a quarter of its time; else they share all
    #[arg(long, env = "LATCHKEY_DATABASE_POOL_SIZE", value_name = "NUMBER", default_value = "16", value_parser = value::number::<u16>(1..=1000))]
    pub database_pool_size: u16,

    /// How long connecting, waiting for a free connection and a statement may take, each; an idle connection whose
    /// server is gone is found out within twice that
    #[arg(long, env = "LATCHKEY_DATABASE_TIMEOUT", value_name = "SPAN", default_value = "5s", value_parser = timeout)]
    pub database_timeout: Duration,
}

impl DatabaseConfig {
    /// The database that is meant.
    ///
    /// # Errors
    /// When the URL is not one, names a file that is not there, or cannot be read from its own file.
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
            return guarded("LATCHKEY_DATA_DIR", file);
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
                "an existing file, or ?mode=rwc at the end to make it",
            )),
            DatabaseUrl::Sqlite(file) => guarded("DATABASE_URL", file),
            url @ DatabaseUrl::Postgres(_) => Ok(url),
        }
    }

    /// Returns the database for a command that does not create one. The path of an SQLite file is absolute.
    ///
    /// # Errors
    /// As for [`url`](Self::url), and if the SQLite file does not exist.
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
            &format!("leads to {}, which does not exist", path.display()),
            &right,
        ))
    }

    /// Returns true if the SQLite file does not exist yet.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self.url(), Ok(DatabaseUrl::Sqlite(file)) if !file.path.is_file())
    }

    /// Limits of the pool of a program that serves nobody.
    #[must_use]
    pub fn limits(&self) -> PoolLimits {
        self.limits_for(0)
    }

    /// Limits of the pool of a server with so many threads.
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
fn guarded(setting: &str, file: SqliteFile) -> Result<DatabaseUrl, ConfigError> {
    refuse_foreign_writers(&file.paths(), file.folder()).map_err(|wrong| {
        ConfigError::new(setting, &format!("cannot be used: {wrong}"), OWN_FILE)
    })?;
    Ok(DatabaseUrl::Sqlite(file))
}
