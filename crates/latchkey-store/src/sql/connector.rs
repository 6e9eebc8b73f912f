//! Opening of connections to Postgres.

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
    connection_settings::Settings,
    postgres_url::{PostgresUrl, TlsMode, Trust},
    tls,
};

/// Encryption of a connection.
#[derive(Clone)]
enum Connector {
    /// No TLS, for a server on this machine.
    Plain,
    /// TLS. With `prefer`, only if the server offers it.
    Tls(MakeRustlsConnect),
    /// TLS to another machine, if the server offers it. A server that is not verified receives no
    /// password in clear text.
    Guarded(Guard),
}

/// Opens connections with the properties of a URL.
#[derive(Clone)]
pub(super) struct PgConnector {
    config: Config,
    /// The same without the startup parameter `options`, which poolers refuse.
    pooled: Config,
    settings: Arc<Settings>,
    settings_via: Arc<AtomicU8>,
    connector: Connector,
    /// Connector after a failed TLS handshake: without TLS, like libpq's `prefer`.
    fallback: Option<Connector>,
    timeout: Duration,
}

/// Socket directories of servers from distributions and from the Postgres project.
const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// Delivery of the session settings. Unknown before the first connection.
const VIA_UNKNOWN: u8 = 0;
const VIA_OPTIONS: u8 = 1;
const VIA_STATEMENTS: u8 = 2;

/// Failed attempt.
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
        // The timeout is divided among the hosts, so that a first host that never replies leaves
        // time for the others.
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
        let (settings, settings_via) = (Arc::new(settings), Arc::new(AtomicU8::new(VIA_UNKNOWN)));
        Ok(Self {
            config,
            pooled,
            settings,
            settings_via,
            connector,
            fallback,
            timeout,
        })
    }

    /// Opens a connection, driven by the current runtime.
    pub(super) async fn connect(&self) -> Result<AsyncPgConnection, ConnectError> {
        // Also ends the wait for a server that accepts a connection and sends nothing.
        match tokio::time::timeout(self.timeout, self.attempt()).await {
            Ok(connection) => connection,
            Err(_) => Err(ConnectError::Unreachable(
                "timed out while connecting".to_owned(),
            )),
        }
    }

    /// Returns true if a pooler that drops startup parameters is between this process and the
    /// server.
    pub(super) fn is_pooled(&self) -> bool {
        self.settings_via.load(Ordering::Relaxed) == VIA_STATEMENTS
    }

    async fn attempt(&self) -> Result<AsyncPgConnection, ConnectError> {
        if !self.is_pooled() {
            match self.attempt_with(&self.config).await {
                Ok(mut connection) => {
                    let known = self.settings_via.load(Ordering::Relaxed) == VIA_OPTIONS;
                    if known || self.settings.took_effect(&mut connection).await {
                        self.settings_via.store(VIA_OPTIONS, Ordering::Relaxed);
                    } else {
                        self.settings.apply(&mut connection).await?;
                        self.settings_via.store(VIA_STATEMENTS, Ordering::Relaxed);
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
        self.settings_via.store(VIA_STATEMENTS, Ordering::Relaxed);
        Ok(connection)
    }

    async fn attempt_with(&self, config: &Config) -> Result<AsyncPgConnection, Failure> {
        let first = attempt_with_connector(config, self.connector.clone()).await;
        match (&self.fallback, first) {
            (Some(fallback), Err(Failure::Tls(_))) => {
                attempt_with_connector(config, fallback.clone()).await
            }
            (_, result) => result,
        }
    }
}

/// Sets the hosts of a URL that names none: its addresses, or the socket directory of a local
/// server.
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

/// Enables keepalives, unless the URL sets them, so that a dead connection is found while it is
/// idle and not by a request.
fn keep_alive(config: &mut Config, idle: Option<Duration>, timeout: Duration) {
    // The kernel counts whole seconds.
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

/// Returns the connector for a URL, and the fallback after a failed handshake.
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

async fn attempt_with_connector(
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
                Some(reply) if reply.message().contains("startup parameter") => Failure::Options,
                _ if connect_error::is_of_tls(&error) => Failure::Tls(classify(&error)),
                _ => Failure::Connect(classify(&error)),
            })?;
    let connection = AsyncPgConnection::try_from_client_and_connection(client, connection).await;
    connection.map_err(|error| Failure::Connect(ConnectError::Unreachable(one_line(&error))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::DatabaseUrl;

    fn driver(url: &str, timeout: Duration) -> PgConnector {
        let Ok(DatabaseUrl::Postgres(url)) = url.parse() else {
            panic!("{url}")
        };
        PgConnector::new(&url, timeout).unwrap()
    }

    #[test]
    fn any_accepted_session_attribute_requires_a_primary() {
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
    fn keepalives_follow_the_timeout_and_are_at_least_one_second() {
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
