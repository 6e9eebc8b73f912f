//! The database that a URL names.

use std::{fmt, path::PathBuf, str::FromStr};

use super::postgres_url::PostgresUrl;

/// A database. `Display` hides the password.
#[derive(Clone, Debug)]
pub enum DatabaseUrl {
    /// A Postgres server.
    Postgres(PostgresUrl),
    /// A file.
    Sqlite(SqliteFile),
}

/// An SQLite database.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SqliteFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it is made when it is not there. A URL must ask for that (`?mode=rwc`, as in SQLite's own URLs), so
    /// that a typo never makes an empty database.
    pub create: bool,
}

/// The text is not the URL of a database. A typo never makes an empty one. No text repeats a part of the URL: it may be the
/// password.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DatabaseUrlError {
    /// Another scheme, or none.
    #[error(
        "expected postgres://USER:PASSWORD@HOST/DATABASE or sqlite://PATH (with ?mode=rwc to make the file)"
    )]
    Scheme,
    /// A parameter that Latchkey does not support, and the alternative.
    #[error("expected no parameter {0}: {1}")]
    Unsupported(&'static str, &'static str),
    /// A value of a parameter that is not possible.
    #[error("expected {0} to be {1}")]
    Value(&'static str, &'static str),
    /// A parameter of neither libpq nor Latchkey. Its name is not repeated.
    #[error(
        "expected only parameters of libpq, such as sslmode, sslrootcert, host, port, user, password, dbname and options"
    )]
    Parameter,
    /// A parameter without a value, or with two.
    #[error("expected parameters as NAME=VALUE, separated by &")]
    Syntax,
    /// A percent sign that begins no escape.
    #[error("expected two hexadecimal digits after each % (%25 for % itself)")]
    Escape,
    /// An unknown `sslmode`.
    #[error("expected an sslmode of disable, allow, prefer, require, verify-ca or verify-full")]
    TlsMode,
    /// A part of the password would be taken for the name of the database.
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
                // Any other parameter would be a part of the name, and some parameters of SQLite are secrets.
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
