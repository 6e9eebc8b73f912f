//! Which database a URL means.

use std::{fmt, path::PathBuf, str::FromStr};

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

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

/// The text is not the URL of a database. A typo never makes an empty one.
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
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once("://") {
            Some(("sqlite", path)) if !path.is_empty() => {
                let (path, create) = path.strip_suffix("?mode=rwc").map_or((path, false), |path| (path, true));
                Ok(Self::Sqlite(SqliteFile { path: PathBuf::from(path), create }))
            }
            Some(("postgres" | "postgresql", _)) => PostgresUrl::parse(text).map(Self::Postgres),
            _ => Err(DatabaseUrlError::Scheme),
        }
    }
}

impl PostgresUrl {
    fn parse(text: &str) -> Result<Self, DatabaseUrlError> {
        let unusable = |reason: &dyn fmt::Display| DatabaseUrlError::Postgres(reason.to_string());
        let (first, more) = hosts(text);
        let mut url = Url::parse(&first).map_err(|reason| unusable(&reason))?;
        let mut tls = None;
        let mut root_certificate = None;
        let mut others = Vec::new();
        for (name, value) in url.query_pairs() {
            match (name.as_ref(), value.as_ref()) {
                ("sslmode", "disable") => tls = Some(TlsMode::Disable),
                ("sslmode", "prefer" | "allow") => tls = Some(TlsMode::Prefer),
                ("sslmode", "require" | "verify-ca" | "verify-full") => tls = Some(TlsMode::Require),
                ("sslmode", _) => return Err(DatabaseUrlError::TlsMode),
                ("sslrootcert", path) => root_certificate = Some(PathBuf::from(path)),
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
        connect.parse::<tokio_postgres::Config>().map_err(|reason| unusable(&reason))?;
        if url.password().is_some() {
            // Fails only for URLs without a host, and those have no password.
            let _ = url.set_password(Some("***"));
        }
        url.set_query(None);
        let also: Vec<String> = more.iter().map(|(host, port)| format!(",{host}:{port}")).collect();
        let path = url.path().len();
        let mut shown = String::from(url);
        shown.insert_str(shown.len() - path, &also.concat());
        Ok(Self { connect: connect.into(), tls, root_certificate, shown })
    }

    pub(super) fn config(&self) -> Result<tokio_postgres::Config, DatabaseUrlError> {
        self.connect
            .expose_secret()
            .parse()
            .map_err(|reason: tokio_postgres::Error| DatabaseUrlError::Postgres(reason.to_string()))
    }
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

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(url) => f.write_str(&url.shown),
            Self::Sqlite(file) => write!(f, "sqlite://{}", file.path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::Host;

    use super::*;

    fn parsed(text: &str) -> (String, Vec<Host>, Vec<u16>) {
        let DatabaseUrl::Postgres(url) = text.parse().unwrap() else { panic!("{text}") };
        let config = url.config().unwrap();
        (url.shown, config.get_hosts().to_vec(), config.get_ports().to_vec())
    }

    fn named(names: &[&str]) -> Vec<Host> {
        names.iter().map(|name| Host::Tcp((*name).to_owned())).collect()
    }

    #[test]
    fn several_hosts_are_all_tried_and_all_shown() {
        let (shown, hosts, ports) = parsed("postgres://ada:hunter2@one:5433,two:5434,three/latchkey?sslmode=require");
        assert_eq!(shown, "postgres://ada:***@one:5433,two:5434,three:5432/latchkey");
        assert_eq!((hosts, ports), (named(&["one", "two", "three"]), vec![5433, 5434, 5432]));
        let (shown, hosts, ports) = parsed("postgres://one,two/latchkey");
        assert_eq!(shown, "postgres://one,two:5432/latchkey");
        assert_eq!((hosts, ports), (named(&["one", "two"]), vec![5432, 5432]));
    }

    #[test]
    fn one_host_is_one_host() {
        assert_eq!(
            parsed("postgres://ada:a,b%40c@one:5433/latchkey"),
            ("postgres://ada:***@one:5433/latchkey".to_owned(), named(&["one"]), vec![5433])
        );
        assert_eq!(parsed("postgres://one").1, named(&["one"]));
    }

    #[test]
    fn who_names_an_authority_is_never_talked_to_in_the_open() {
        for (text, expected) in [
            ("postgres://one/latchkey", TlsMode::Prefer),
            ("postgres://one/latchkey?sslrootcert=root.pem", TlsMode::Require),
            ("postgres://one/latchkey?sslmode=verify-ca", TlsMode::Require),
            ("postgres://one/latchkey?sslmode=disable&sslrootcert=root.pem", TlsMode::Disable),
        ] {
            let DatabaseUrl::Postgres(url) = text.parse().unwrap() else { panic!("{text}") };
            assert_eq!(url.tls, expected, "{text}");
        }
    }
}
