//! Which database a URL means.

use std::{error::Error as _, fmt, fmt::Write as _, path::PathBuf, str::FromStr};

use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::{Config, config::Host};
use url::Url;

use crate::store::host;

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

/// A Postgres server and how it is talked to.
#[derive(Clone, Debug)]
pub struct PostgresUrl {
    /// For the driver: without the parameters that it does not know.
    pub(super) connect: SecretString,
    /// Whether the connection must be encrypted, may be, or is not.
    pub(super) tls: TlsMode,
    /// A file of certificates to trust instead of the system's (`sslrootcert`).
    pub(super) root_certificate: Option<PathBuf>,
    /// Settings of the session (`options`).
    pub(super) options: Option<String>,
    /// True if a host is, or may be, another machine.
    remote: bool,
    shown: String,
}

/// libpq's `sslmode`, with one difference: an encrypted connection is always verified, chain and host name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsMode {
    /// Plain.
    Disable,
    /// Encrypted when the server offers it: the default, unless `sslrootcert` is given.
    Prefer,
    /// Encrypted or not at all. `require`, `verify-ca` and `verify-full` all mean this.
    Require,
}

/// The text is not the URL of a database. A typo never makes an empty one. No text repeats a part of the URL: it may be the
/// password.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DatabaseUrlError {
    /// Another scheme, or none.
    #[error("expected postgres://USER:PASSWORD@HOST/DATABASE or sqlite://PATH (with ?mode=rwc to make the file)")]
    Scheme,
    /// The driver does not take it.
    #[error("expected a URL that the Postgres driver takes ({0})")]
    Postgres(String),
    /// An unknown `sslmode`.
    #[error("expected an sslmode of disable, prefer, require or verify-full")]
    TlsMode,
    /// A part of the password would be taken for the name of the database.
    #[error("expected @, /, ? and # in user, password and database to be percent-encoded (%40, %2F, %3F, %23)")]
    Unescaped,
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once("://") {
            Some(("sqlite", path)) => {
                let (path, create) = path.strip_suffix("?mode=rwc").map_or((path, false), |path| (path, true));
                // Any other parameter would be a part of the name, and some parameters of SQLite are secrets.
                if path.is_empty() || path.contains('?') {
                    return Err(DatabaseUrlError::Scheme);
                }
                Ok(Self::Sqlite(SqliteFile { path: PathBuf::from(path), create }))
            }
            Some(("postgres" | "postgresql", _)) => PostgresUrl::parse(text).map(Self::Postgres),
            _ => Err(DatabaseUrlError::Scheme),
        }
    }
}

impl PostgresUrl {
    fn parse(text: &str) -> Result<Self, DatabaseUrlError> {
        let (first, more) = hosts(text);
        // Errors of `url` have fixed texts.
        let mut url = Url::parse(&first).map_err(|reason| DatabaseUrlError::Postgres(reason.to_string()))?;
        let cut_short = url.path().len() < 2 && url.query().is_some_and(|query| query.contains('@'));
        if text.contains('#') || url.path().contains('@') || cut_short {
            return Err(DatabaseUrlError::Unescaped);
        }
        let mut tls = None;
        let mut root_certificate = None;
        let mut options = None;
        let mut others = Vec::new();
        for (name, value) in url.query_pairs() {
            match (name.as_ref(), value.as_ref()) {
                ("sslmode", "disable") => tls = Some(TlsMode::Disable),
                ("sslmode", "prefer" | "allow") => tls = Some(TlsMode::Prefer),
                ("sslmode", "require" | "verify-ca" | "verify-full") => tls = Some(TlsMode::Require),
                ("sslmode", _) => return Err(DatabaseUrlError::TlsMode),
                ("sslrootcert", path) => root_certificate = Some(PathBuf::from(path)),
                ("options", value) => options = Some(value.to_owned()),
                (name, value) => others.push((name.to_owned(), value.to_owned())),
            }
        }
        // Who names an authority to trust does not mean to talk in the open.
        let unsaid = if root_certificate.is_some() { TlsMode::Require } else { TlsMode::Prefer };
        let tls = tls.unwrap_or(unsaid);
        for (host, port) in &more {
            others.push(("host".to_owned(), (*host).to_owned()));
            others.push(("port".to_owned(), (*port).to_owned()));
        }
        let driver_mode = match tls {
            TlsMode::Disable => "disable",
            TlsMode::Prefer => "prefer",
            TlsMode::Require => "require",
        };
        url.query_pairs_mut().clear().extend_pairs(&others).append_pair("sslmode", driver_mode);
        let connect = String::from(url.clone());
        let config = connect.parse().map_err(|reason| unusable(&reason))?;
        let shown = shown(&url, &more);
        Ok(Self { connect: connect.into(), tls, root_certificate, options, shown, remote: is_remote(&config) })
    }

    pub(super) fn config(&self) -> Result<Config, DatabaseUrlError> {
        self.connect.expose_secret().parse().map_err(|reason| unusable(&reason))
    }

    /// Returns true if the connection leaves this machine and may do so unencrypted.
    pub(super) fn may_be_overheard(&self) -> bool {
        self.remote && self.tls != TlsMode::Require
    }
}

/// Returns the driver's error without names from the URL.
fn unusable(reason: &tokio_postgres::Error) -> DatabaseUrlError {
    let cause = reason.source().map(ToString::to_string).unwrap_or_default();
    let known = cause.starts_with("invalid value for option");
    DatabaseUrlError::Postgres(if known { cause } else { "a parameter is unknown or misplaced".to_owned() })
}

/// Returns true if any host is, or may be, another machine. If a host has a name and an address, both must mean this
/// machine.
fn is_remote(config: &Config) -> bool {
    let named = config.get_hosts().iter().any(|host| match host {
        Host::Tcp(name) => !host::is_loopback(name),
        Host::Unix(_) => false,
    });
    named || config.get_hostaddrs().iter().any(|address| !address.to_canonical().is_loopback())
}

/// Returns the URL with user, hosts and database, each only if it cannot hold anything else. Passwords and parameters
/// are never included.
fn shown(url: &Url, more: &[(&str, &str)]) -> String {
    let mut text = format!("{}://", url.scheme());
    match (url.username(), url.password()) {
        ("", None) => {}
        (user, None) => text.extend([host::shown(user), "@"]),
        (user, Some(_)) => text.extend([host::shown(user), ":***@"]),
    }
    text.push_str(host::shown(url.host_str().unwrap_or_default()));
    if let Some(port) = url.port() {
        let _ = write!(text, ":{port}");
    }
    for (host, port) in more {
        text.extend([",", host::shown(host), ":", host::shown(port)]);
    }
    if let Some(database) = url.path().strip_prefix('/') {
        text.extend(["/", host::shown(database)]);
    }
    text
}

/// libpq's `HOST:PORT,HOST:PORT`, of which a URL knows only the first: that one in its URL, and the others.
fn hosts(text: &str) -> (String, Vec<(&str, &str)>) {
    let start = text.find("://").map_or(0, |scheme| scheme + "://".len());
    let end = text.get(start..).and_then(|rest| rest.find(['/', '?'])).map_or(text.len(), |length| start + length);
    let authority = text.get(start..end).unwrap_or_default();
    let names = authority.rfind('@').map_or(start, |at| start + at + 1);
    let mut all = text.get(names..end).unwrap_or_default().split(',');
    let first = all.next().unwrap_or_default();
    let more = all.map(|host| match host.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => (host, port),
        _ => (host, "5432"),
    });
    let one = [text.get(..names).unwrap_or_default(), first, text.get(end..).unwrap_or_default()].concat();
    (one, more.collect())
}

impl DatabaseUrl {
    /// Returns a warning if passwords and rows may cross a network unencrypted.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let Self::Postgres(url) = self else { return None };
        url.may_be_overheard().then(|| {
            format!("{self} is on another machine and the connection may be unencrypted: set sslmode=verify-full in DATABASE_URL")
        })
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(url) => f.write_str(&url.shown),
            Self::Sqlite(file) => write!(f, "sqlite://{}", file.path.display()),
        }
    }
}

#[cfg(test)]
#[path = "url_tests.rs"]
mod tests;
