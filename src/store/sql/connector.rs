//! Connections to Postgres.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use diesel_async::AsyncPgConnection;
use tokio_postgres::{
    Config, NoTls, Socket,
    config::{SslMode, TargetSessionAttrs},
    tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    clear_text::Guard,
    connect_error::{self, ConnectError, classify, one_line},
    postgres_url::{PostgresUrl, TlsMode, Trust},
    session::Settings,
    tls,
};

/// The encryption of a connection.
#[derive(Clone)]
enum Connector {
    /// No TLS. The server is on this machine.
    Plain,
    /// TLS. With `prefer`, only if the server offers it.
    Tls(MakeRustlsConnect),
    /// TLS to another machine, if the server offers it. A server that is not verified gets no password in clear text.
    Guarded(Guard),
}

/// How connections are made.
#[derive(Clone)]
pub(super) struct PgConnector {
    config: Config,
    /// The same without the startup parameter `options`, which poolers refuse.
    pooled: Config,
    settings: Arc<Settings>,
    way: Arc<AtomicU8>,
    connector: Connector,
    /// The connector after a TLS handshake that failed: without TLS, as libpq's `prefer`.
    fallback: Option<Connector>,
    timeout: Duration,
}

/// The directories in which servers of distributions and of the Postgres project listen.
const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// The way the settings of a session reach the server: not known before the first connection.
const UNKNOWN: u8 = 0;
const BY_OPTIONS: u8 = 1;
const BY_STATEMENTS: u8 = 2;

/// A failed attempt.
enum Failure {
    /// A pooler refused the startup parameter `options`.
    Options,
    /// The TLS handshake failed.
    Tls(ConnectError),
    Connect(ConnectError),
}

impl PgConnector {
    pub(super) fn new(url: &PostgresUrl, timeout: Duration) -> Result<Self, ConnectError> {
        let mut config = (*url.config).clone();
        if config.get_hosts().is_empty() {
            default_hosts(&mut config);
        }
        // A first host that never answers leaves time for the others.
        let hosts = u32::try_from(config.get_hosts().len())
            .unwrap_or(u32::MAX)
            .max(1);
        let limit = timeout / hosts;
        config.connect_timeout(
            config
                .get_connect_timeout()
                .map_or(limit, |given| limit.min(*given)),
        );
        if config.get_application_name().is_none() {
            config.application_name("latchkey");
        }
        // A replica may lack recent revocations.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        keep_alive(&mut config, url.keepalives_idle, timeout);
        let settings = Settings::new(timeout, url.options.as_deref());
        let (connector, fallback) = connectors(url, &mut config)?;
        let pooled = config.clone();
        config.options(settings.options());
        let (settings, way) = (Arc::new(settings), Arc::new(AtomicU8::new(UNKNOWN)));
        Ok(Self {
            config,
            pooled,
            settings,
            way,
            connector,
            fallback,
            timeout,
        })
    }

    /// A connection, driven by the runtime that this is called on.
    pub(super) async fn connect(&self) -> Result<AsyncPgConnection, ConnectError> {
        // A server that takes connections and says nothing would otherwise be waited for without end.
        match tokio::time::timeout(self.timeout, self.attempt()).await {
            Ok(connection) => connection,
            Err(_) => Err(ConnectError::Unreachable(
                "no connection in time".to_owned(),
            )),
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
                Err(Failure::Connect(error) | Failure::Tls(error)) => return Err(error),
                Err(Failure::Options) => {}
            }
        }
        let mut connection =
            self.attempt_with(&self.pooled)
                .await
                .map_err(|failure| match failure {
                    Failure::Options => {
                        ConnectError::Refused("the pooler refuses a startup parameter".to_owned())
                    }
                    Failure::Connect(error) | Failure::Tls(error) => error,
                })?;
        self.settings.apply(&mut connection).await?;
        self.way.store(BY_STATEMENTS, Ordering::Relaxed);
        Ok(connection)
    }

    async fn attempt_with(&self, config: &Config) -> Result<AsyncPgConnection, Failure> {
        let first = attempt_by_any(config, self.connector.clone()).await;
        match (&self.fallback, first) {
            (Some(fallback), Err(Failure::Tls(_))) => {
                attempt_by_any(config, fallback.clone()).await
            }
            (_, result) => result,
        }
    }
}

/// Names the hosts of a URL that names none: its addresses, or the directory in which a local server listens.
fn default_hosts(config: &mut Config) {
    let addresses = config.get_hostaddrs().to_vec();
    if addresses.is_empty() {
        let [first, last] = SOCKET_DIRECTORIES;
        config.host_path(if Path::new(first).is_dir() {
            first
        } else {
            last
        });
    }
    for address in addresses {
        config.host(address.to_string());
    }
}

/// Finds a dead connection while it is idle, and not by a request, unless the URL has other values.
fn keep_alive(config: &mut Config, idle: Option<Duration>, timeout: Duration) {
    // The kernel counts in whole seconds.
    let probe = Duration::from_secs(timeout.as_secs().max(1));
    config.keepalives_idle(idle.unwrap_or(probe));
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(timeout);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(probe);
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(1);
    }
}

/// Returns the connector for a URL, and the one after a failed handshake.
fn connectors(
    url: &PostgresUrl,
    config: &mut Config,
) -> Result<(Connector, Option<Connector>), ConnectError> {
    let guarded = url.may_be_overheard();
    let plain = |config: &mut Config| {
        if guarded {
            Guard::new(None, false, config).map(Connector::Guarded)
        } else {
            Ok(Connector::Plain)
        }
    };
    match url.tls {
        TlsMode::Disable => {
            config.ssl_mode(SslMode::Disable);
            Ok((plain(config)?, None))
        }
        TlsMode::Prefer => {
            config.ssl_mode(SslMode::Prefer);
            let tls = tls::preferred(&url.trust)?;
            let fallback = plain(config)?;
            let first = if guarded {
                Connector::Guarded(Guard::new(Some(tls), url.trust != Trust::Default, config)?)
            } else {
                Connector::Tls(tls)
            };
            Ok((first, Some(fallback)))
        }
        TlsMode::Require => {
            config.ssl_mode(SslMode::Require);
            Ok((Connector::Tls(tls::verified(&url.trust)?), None))
        }
    }
}

async fn attempt_by_any(
    config: &Config,
    connector: Connector,
) -> Result<AsyncPgConnection, Failure> {
    match connector {
        Connector::Plain => attempt_by(config, NoTls).await,
        Connector::Tls(connector) => attempt_by(config, connector).await,
        Connector::Guarded(connector) => attempt_by(config, connector).await,
    }
}

async fn attempt_by<T>(config: &Config, connector: T) -> Result<AsyncPgConnection, Failure>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) =
        config
            .connect(connector)
            .await
            .map_err(|error| match error.as_db_error() {
                Some(answer) if answer.message().contains("startup parameter") => Failure::Options,
                _ if connect_error::is_of_tls(&error) => Failure::Tls(classify(&error)),
                _ => Failure::Connect(classify(&error)),
            })?;
    let connection = AsyncPgConnection::try_from_client_and_connection(client, connection).await;
    connection.map_err(|error| Failure::Connect(ConnectError::Unreachable(one_line(&error))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sql::DatabaseUrl;

    fn driver(url: &str, timeout: Duration) -> PgConnector {
        let Ok(DatabaseUrl::Postgres(url)) = url.parse() else {
            panic!("{url}")
        };
        PgConnector::new(&url, timeout).unwrap()
    }

    #[test]
    fn url_with_any_accepted_session_attribute_asks_for_a_primary() {
        for choice in [
            "",
            "?target_session_attrs=any",
            "?target_session_attrs=primary",
        ] {
            let driver = driver(
                &format!("postgres://localhost/latchkey{choice}"),
                Duration::from_secs(5),
            );
            assert_eq!(
                driver.config.get_target_session_attrs(),
                TargetSessionAttrs::ReadWrite,
                "{choice}"
            );
        }
    }

    #[test]
    fn a_dead_connection_is_found_out_within_twice_the_limit_and_never_asks_the_kernel_for_zero_seconds()
     {
        for (limit, idle) in [(5000, 5), (300, 1)] {
            let config = driver(
                "postgres://localhost/latchkey",
                Duration::from_millis(limit),
            )
            .config;
            assert!(config.get_keepalives());
            assert_eq!(
                config.get_tcp_user_timeout(),
                Some(&Duration::from_millis(limit))
            );
            assert_eq!(config.get_keepalives_idle(), Duration::from_secs(idle));
            assert_eq!(
                config.get_keepalives_interval(),
                Some(Duration::from_secs(idle))
            );
            assert_eq!(config.get_keepalives_retries(), Some(1));
        }
    }
}
