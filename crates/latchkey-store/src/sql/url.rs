//! URL of a database.

use std::{fmt, path::PathBuf, str::FromStr};

use super::postgres_url::PostgresUrl;

/// Database of a URL. `Display` hides the password.
#[derive(Clone, Debug)]
pub enum DatabaseUrl {
    /// A Postgres server.
    Postgres(PostgresUrl),
    /// An SQLite file.
    Sqlite(SqliteFile),
}

/// SQLite file of a URL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SqliteFile {
    /// Path of the file.
    pub path: PathBuf,
    /// True to create a missing file (`?mode=rwc`, as in SQLite's own URLs). Off by default,
    /// so that a typo never creates an empty database.
    pub create: bool,
}

/// Error of a database URL. No text repeats a part of the URL, which may be the password.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DatabaseUrlError {
    /// The scheme is missing or unknown.
    #[error(
        "expected postgres://USER:PASSWORD@HOST/DATABASE or sqlite://PATH (with ?mode=rwc to create the file)"
    )]
    Scheme,
    /// The parameter is not supported. Names the alternative.
    #[error("expected no parameter {0}: {1}")]
    Unsupported(&'static str, &'static str),
    /// The value of the parameter is invalid.
    #[error("expected {0} to be {1}")]
    Value(&'static str, &'static str),
    /// The parameter is neither libpq's nor Latchkey's. Its name is not repeated.
    #[error(
        "expected only parameters of libpq, such as sslmode, sslrootcert, host, port, user, password, dbname and options"
    )]
    Parameter,
    /// A parameter has no value, or two.
    #[error("expected parameters as NAME=VALUE, separated by &")]
    Syntax,
    /// A percent sign begins no escape.
    #[error("expected two hexadecimal digits after each % (%25 for % itself)")]
    Escape,
    /// The `sslmode` is unknown.
    #[error("expected an sslmode of disable, allow, prefer, require, verify-ca or verify-full")]
    TlsMode,
    /// Part of the password would be read as the name of the database.
    #[error("expected @ and / in user, password and database to be percent-encoded (%40, %2F)")]
    Unescaped,
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once("://") {
            Some(("sqlite", path)) => {
                let (path, create) = path
                    .strip_suffix("?mode=rwc")
                    .map_or((path, false), |path| (path, true));
                // Another parameter would become part of the name, and some parameters of SQLite
                // are secrets.
                if path.is_empty() || path.contains('?') {
                    return Err(DatabaseUrlError::Scheme);
                }
                Ok(Self::Sqlite(SqliteFile {
                    path: PathBuf::from(path),
                    create,
                }))
            }
            Some(("postgres" | "postgresql", rest)) => PostgresUrl::parse(rest).map(Self::Postgres),
            _ => Err(DatabaseUrlError::Scheme),
        }
    }
}

impl DatabaseUrl {
    /// Returns a warning if passwords and rows may cross a network unencrypted.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let Self::Postgres(url) = self else {
            return None;
        };
        url.may_be_overheard().then(|| {
            format!("{self} is on another machine and the connection may be unencrypted: set sslmode=verify-full in DATABASE_URL")
        })
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(url) => url.fmt(f),
            Self::Sqlite(file) => write!(f, "sqlite://{}", file.path.display()),
        }
    }
}
