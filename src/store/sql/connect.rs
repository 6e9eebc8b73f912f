//! One connection to Postgres: what is asked of it, and what it means when there is none.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use diesel_async::AsyncPgConnection;
use rustls::{CertificateError, Error as TlsError};
use tokio_postgres::{Config, Error, NoTls, Socket, config::TargetSessionAttrs, error::SqlState, tls::MakeTlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    clear_text::{ClearText, Guard},
    session::Settings,
    tls,
    url::{PostgresUrl, TlsMode},
};

/// Why there is no connection to the database.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers, or not now: a moment later it may be there.
    #[error("{0}")]
    Absent(String),
    /// A server that takes no writes is never read either: it may not know yet what was revoked.
    #[error(
        "the server is read-only: a replica, or not promoted yet after a fail-over; correct the URL to lead to the primary"
    )]
    ReadOnly,
    /// It is there and refuses, or cannot be trusted: waiting does not help.
    #[error("{0}")]
    Refused(String),
}

/// The encryption of a connection.
#[derive(Clone)]
enum Connector {
    /// None: the server is on this machine.
    Plain,
    /// TLS, unless the server is on this machine and does not offer it.
    Tls(MakeRustlsConnect),
    /// TLS if the server offers it. Otherwise no password in clear text.
    Guarded(Guard),
}

/// How connections are made.
#[derive(Clone)]
pub(super) struct Driver {
    config: Config,
    /// The same without the startup parameter `options`, which poolers refuse.
    pooled: Config,
    settings: Arc<Settings>,
    way: Arc<AtomicU8>,
    connector: Connector,
    timeout: Duration,
}

/// The way the settings of a session reach the server: not known before the first connection.
const UNKNOWN: u8 = 0;
const BY_OPTIONS: u8 = 1;
const BY_STATEMENTS: u8 = 2;

/// A failed attempt.
enum Failure {
    /// A pooler refused the startup parameter `options`.
    Options,
    Connect(ConnectError),
}

impl Driver {
    pub(super) fn new(url: &PostgresUrl, timeout: Duration) -> Result<Self, ConnectError> {
        let mut config = url.config().map_err(|error| ConnectError::Refused(error.to_string()))?;
        // A first host that never answers leaves time for the others.
        let hosts = u32::try_from(config.get_hosts().len()).unwrap_or(u32::MAX).max(1);
        config.connect_timeout(timeout / hosts).application_name("latchkey");
        // Whatever the URL says: what a replica has not heard of yet, it would let in.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        // A connection whose other end is gone without a word is found out while it lies idle, not by a request. The
        // kernel counts these in whole seconds.
        let probe = Duration::from_secs(timeout.as_secs().max(1));
        config.tcp_user_timeout(timeout).keepalives_idle(probe).keepalives_interval(probe).keepalives_retries(1);
        let settings = Settings::new(timeout, url.options.as_deref());
        let tls = match url.tls {
            TlsMode::Disable => None,
            TlsMode::Prefer | TlsMode::Require => Some(tls::connector(url.root_certificate.as_deref())?),
        };
        let connector = match tls {
            tls if url.may_be_overheard() => Connector::Guarded(Guard::new(tls, &mut config)?),
            None => Connector::Plain,
            Some(tls) => Connector::Tls(tls),
        };
        let pooled = config.clone();
        config.options(settings.options());
        let (settings, way) = (Arc::new(settings), Arc::new(AtomicU8::new(UNKNOWN)));
        Ok(Self { config, pooled, settings, way, connector, timeout })
    }

    /// A connection, driven by the runtime that this is called on.
    pub(super) async fn connect(&self) -> Result<AsyncPgConnection, ConnectError> {
        // A server that takes connections and says nothing would otherwise be waited for without end.
        match tokio::time::timeout(self.timeout, self.attempt()).await {
            Ok(connection) => connection,
            Err(_) => Err(ConnectError::Absent("no connection in time".to_owned())),
        }
    }

    /// Returns true if a pooler that does not forward startup parameters is between this process and the server.
    pub(super) fn is_pooled(&self) -> bool {
        self.way.load(Ordering::Relaxed) == BY_STATEMENTS
    }

    async fn attempt(&self) -> Result<AsyncPgConnection, ConnectError> {
        if !self.is_pooled() {
            match self.attempt_with(&self.config).await {
                Ok(mut connection) => {
                    let known = self.way.load(Ordering::Relaxed) == BY_OPTIONS;
                    if known || self.settings.hold(&mut connection).await {
                        self.way.store(BY_OPTIONS, Ordering::Relaxed);
                    } else {
                        self.settings.apply(&mut connection).await?;
                        self.way.store(BY_STATEMENTS, Ordering::Relaxed);
                    }
                    return Ok(connection);
                }
                Err(Failure::Connect(error)) => return Err(error),
                Err(Failure::Options) => {}
            }
        }
        let mut connection = self.attempt_with(&self.pooled).await.map_err(|failure| match failure {
            Failure::Options => ConnectError::Refused("the pooler refuses a startup parameter".to_owned()),
            Failure::Connect(error) => error,
        })?;
        self.settings.apply(&mut connection).await?;
        self.way.store(BY_STATEMENTS, Ordering::Relaxed);
        Ok(connection)
    }

    async fn attempt_with(&self, config: &Config) -> Result<AsyncPgConnection, Failure> {
        match self.connector.clone() {
            Connector::Plain => attempt_by(config, NoTls).await,
            Connector::Tls(connector) => attempt_by(config, connector).await,
            Connector::Guarded(connector) => attempt_by(config, connector).await,
        }
    }
}

async fn attempt_by<T>(config: &Config, connector: T) -> Result<AsyncPgConnection, Failure>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect(connector).await.map_err(|error| match error.as_db_error() {
        Some(answer) if answer.message().contains("startup parameter") => Failure::Options,
        _ => Failure::Connect(meaning(&error)),
    })?;
    let connection = AsyncPgConnection::try_from_client_and_connection(client, connection).await;
    connection.map_err(|error| Failure::Connect(ConnectError::Absent(one_line(&error))))
}

fn meaning(error: &Error) -> ConnectError {
    if let Some(answer) = error.as_db_error() {
        let refused = |what_to_do: &str| ConnectError::Refused(format!("{}: {what_to_do}", answer.message()));
        return match *answer.code() {
            SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                refused("correct user and password in the URL, or whom the server lets in")
            }
            SqlState::INVALID_CATALOG_NAME => refused("create it, or correct the URL"),
            _ => ConnectError::Absent(answer.message().to_owned()),
        };
    }
    let text = one_line(error);
    if let Some(error) = causes(error).find_map(tls_error) {
        return tls_meaning(error, text);
    }
    let mut failures = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>());
    if failures
        .clone()
        .any(|failure| failure.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<ClearText>))
    {
        return ConnectError::Refused(format!(
            "{ClearText}: set sslmode=verify-full in the URL, or configure the server for scram-sha-256"
        ));
    }
    if failures.any(is_read_only) {
        return ConnectError::ReadOnly;
    }
    // The driver tells these apart by their texts alone.
    if text.ends_with("server does not support TLS") {
        return ConnectError::Refused(
            "the server offers no TLS: switch it on there, or say sslmode=disable where the network is trusted"
                .to_owned(),
        );
    }
    if text.starts_with("invalid configuration") || text.starts_with("authentication error") {
        return ConnectError::Refused(format!("{text}: correct the URL"));
    }
    ConnectError::Absent(text)
}

/// What the driver says of a server that is not what `target_session_attrs` asks for.
fn is_read_only(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied && error.to_string().contains("does not allow writes")
}

fn tls_meaning(error: &TlsError, text: String) -> ConnectError {
    let what_to_do = match error {
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "name the file with the certificate of its authority: sslrootcert=PATH in the URL"
        }
        TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "connect by the name that is in the certificate",
        TlsError::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "renew the certificate of the server"
        }
        TlsError::InvalidCertificate(CertificateError::Other(_)) => {
            return ConnectError::Refused(
                "the certificate of the server cannot be verified, for example because it is one of an authority \
                 (CA:TRUE): create one with basicConstraints=critical,CA:FALSE (docs/postgres.md)"
                    .to_owned(),
            );
        }
        TlsError::InvalidCertificate(_) => "correct the certificate of the server",
        _ => return ConnectError::Absent(text),
    };
    ConnectError::Refused(format!("{text}: {what_to_do}"))
}

/// An `io::Error` does not name what it wraps as its source.
fn tls_error<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a TlsError> {
    cause.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<TlsError>()
}

fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> + Clone {
    std::iter::successors(Some(error), |error| error.source())
}

/// The driver's errors say little themselves; what they wrap says it.
pub(super) fn one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    texts.join(": ").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sql::DatabaseUrl;

    fn driver(url: &str, timeout: Duration) -> Driver {
        let Ok(DatabaseUrl::Postgres(url)) = url.parse() else { panic!("{url}") };
        Driver::new(&url, timeout).unwrap()
    }

    #[test]
    fn no_url_talks_it_into_reading_a_replica() {
        for choice in ["", "?target_session_attrs=any", "?target_session_attrs=read-only"] {
            let driver = driver(&format!("postgres://localhost/latchkey{choice}"), Duration::from_secs(5));
            assert_eq!(driver.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite, "{choice}");
        }
    }

    #[test]
    fn a_dead_connection_is_found_out_within_twice_the_limit_and_never_asks_the_kernel_for_zero_seconds() {
        for (limit, idle) in [(5000, 5), (300, 1)] {
            let config = driver("postgres://localhost/latchkey", Duration::from_millis(limit)).config;
            assert!(config.get_keepalives());
            assert_eq!(config.get_tcp_user_timeout(), Some(&Duration::from_millis(limit)));
            assert_eq!(config.get_keepalives_idle(), Duration::from_secs(idle));
            assert_eq!(config.get_keepalives_interval(), Some(Duration::from_secs(idle)));
            assert_eq!(config.get_keepalives_retries(), Some(1));
        }
    }
}
