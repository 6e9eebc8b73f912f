//! URL of a Postgres database.

mod parameter;
mod text;

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use tokio_postgres::{
    Config,
    config::{ChannelBinding, Host, LoadBalanceHosts},
};

use super::url::DatabaseUrlError;
use latchkey_domain::host;

/// Postgres server and the properties of connections to it. `Display` and `Debug` show user, hosts
/// and database.
#[derive(Clone)]
pub struct PostgresUrl {
    /// Login, hosts and database for the driver.
    pub(super) config: Box<Config>,
    /// Encryption of connections.
    pub(super) tls: TlsMode,
    /// Trusted certificates.
    pub(super) trust: Trust,
    /// Settings of the session (`options`).
    pub(super) options: Option<String>,
    /// `keepalives_idle`. Kept apart, because the driver does not distinguish its default from a
    /// value in the URL.
    pub(super) keepalives_idle: Option<Duration>,
}

/// libpq's `sslmode`, with one difference: `require` and the stricter modes verify chain and host
/// name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsMode {
    /// Unencrypted.
    Disable,
    /// Encrypted if the server offers it. The default, unless `sslrootcert` is given.
    Prefer,
    /// Always encrypted and verified. `require`, `verify-ca` and `verify-full` all mean this.
    Require,
}

/// libpq's `sslrootcert`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Trust {
    /// Not given: the system's authorities, if a certificate is verified.
    Default,
    /// Authorities of the system.
    System,
    /// Certificates in a file.
    File(PathBuf),
}

impl PostgresUrl {
    /// Parses the text after `postgres://`.
    pub(super) fn parse(text: &str) -> Result<Self, DatabaseUrlError> {
        let mut all = BTreeMap::new();
        for (name, value) in text::split(text)? {
            all.insert(parameter::known(&name, &value)?, value);
        }
        let all = Values(all);
        let trust = match all.text("sslrootcert")? {
            None => Trust::Default,
            Some("system") => Trust::System,
            Some(path) => Trust::File(PathBuf::from(path)),
        };
        let mut config = Box::new(Config::new());
        all.login(&mut config)?;
        all.hosts(&mut config)?;
        let keepalives_idle = all.timeouts(&mut config)?;
        let mut tls = all.tls()?.unwrap_or(match trust {
            Trust::Default => TlsMode::Prefer,
            // A URL that names an authority does not request an unencrypted connection.
            Trust::System | Trust::File(_) => TlsMode::Require,
        });
        // No TLS on a Unix socket, like libpq.
        let is_socket = |host: &Host| matches!(host, Host::Unix(_));
        if config.get_hosts().iter().all(is_socket) && config.get_hostaddrs().is_empty() {
            tls = TlsMode::Disable;
        }
        let options = all.text("options")?.map(ToOwned::to_owned);
        Ok(Self {
            config,
            tls,
            trust,
            options,
            keepalives_idle,
        })
    }

    /// Returns true if the connection leaves this machine and may be unencrypted or unverified.
    pub(super) fn may_be_overheard(&self) -> bool {
        self.tls != TlsMode::Require && is_remote(&self.config)
    }
}

/// Values of the parameters of a URL.
struct Values(BTreeMap<&'static str, Vec<u8>>);

impl Values {
    /// Returns the value. An empty one counts as missing.
    fn text(&self, name: &'static str) -> Result<Option<&str>, DatabaseUrlError> {
        let Some(value) = self.0.get(name).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        str::from_utf8(value)
            .map(Some)
            .map_err(|_| DatabaseUrlError::Value(name, "text in UTF-8"))
    }

    /// Returns a number. One beyond the range counts as missing, so that the default applies.
    fn number<T: TryFrom<i64>>(&self, name: &'static str) -> Result<Option<T>, DatabaseUrlError> {
        let number = |text: &str| text.trim().parse::<i64>();
        let parsed = self.text(name)?.map(number).transpose();
        let number = parsed.map_err(|_| DatabaseUrlError::Value(name, "a number"))?;
        Ok(number.and_then(|number| number.try_into().ok()))
    }

    /// Returns a duration in seconds. Zero and less mean the default, as in libpq.
    fn seconds(&self, name: &'static str) -> Result<Option<Duration>, DatabaseUrlError> {
        let seconds = self.number(name)?.filter(|seconds| *seconds > 0);
        Ok(seconds.map(Duration::from_secs))
    }

    /// Returns the elements between commas.
    fn list(&self, name: &'static str) -> Result<impl Iterator<Item = &str>, DatabaseUrlError> {
        Ok(self.text(name)?.into_iter().flat_map(|all| all.split(',')))
    }

    fn login(&self, config: &mut Config) -> Result<(), DatabaseUrlError> {
        if let Some(user) = self.text("user")? {
            config.user(user);
        }
        if let Some(password) = self.0.get("password") {
            config.password(password);
        }
        if let Some(database) = self.text("dbname")? {
            config.dbname(database);
        }
        let fallback = self.text("fallback_application_name")?;
        if let Some(name) = self.text("application_name")?.or(fallback) {
            config.application_name(name);
        }
        match self.text("channel_binding")? {
            None => {}
            Some("disable") => drop(config.channel_binding(ChannelBinding::Disable)),
            Some("prefer") => drop(config.channel_binding(ChannelBinding::Prefer)),
            Some("require") => drop(config.channel_binding(ChannelBinding::Require)),
            Some(_) => {
                return Err(DatabaseUrlError::Value(
                    "channel_binding",
                    "disable, prefer or require",
                ));
            }
        }
        Ok(())
    }

    fn hosts(&self, config: &mut Config) -> Result<(), DatabaseUrlError> {
        for host in self.list("host")? {
            config.host(if host.is_empty() { "localhost" } else { host });
        }
        for address in self.list("hostaddr")? {
            let wrong = DatabaseUrlError::Value("hostaddr", "IP addresses, separated by commas");
            config.hostaddr(address.parse().map_err(|_| wrong)?);
        }
        for port in self.list("port")? {
            let wrong = DatabaseUrlError::Value("port", "a number from 1 to 65535");
            let port = if port.is_empty() {
                Ok(5432)
            } else {
                port.trim().parse()
            };
            config.port(port.ok().filter(|port| *port > 0).ok_or(wrong)?);
        }
        let (hosts, addresses, ports) = (
            config.get_hosts().len(),
            config.get_hostaddrs().len(),
            config.get_ports().len(),
        );
        if hosts > 0 && addresses > 0 && hosts != addresses {
            return Err(DatabaseUrlError::Value(
                "hostaddr",
                "one address for each host",
            ));
        }
        if ports > 1 && ports != hosts.max(addresses) {
            return Err(DatabaseUrlError::Value(
                "port",
                "one number, or one for each host",
            ));
        }
        match self.text("load_balance_hosts")? {
            None | Some("disable") => {}
            Some("random") => drop(config.load_balance_hosts(LoadBalanceHosts::Random)),
            Some(_) => {
                return Err(DatabaseUrlError::Value(
                    "load_balance_hosts",
                    "disable or random",
                ));
            }
        }
        Ok(())
    }

    /// Sets the network timeouts, and returns `keepalives_idle`.
    fn timeouts(&self, config: &mut Config) -> Result<Option<Duration>, DatabaseUrlError> {
        if let Some(limit) = self.seconds("connect_timeout")? {
            config.connect_timeout(limit);
        }
        if let Some(milliseconds) = self.number("tcp_user_timeout")? {
            config.tcp_user_timeout(Duration::from_millis(milliseconds));
        }
        if let Some(keepalives) = self.number::<i64>("keepalives")? {
            config.keepalives(keepalives != 0);
        }
        if let Some(interval) = self.seconds("keepalives_interval")? {
            config.keepalives_interval(interval);
        }
        if let Some(count) = self.number("keepalives_count")? {
            config.keepalives_retries(count);
        }
        self.seconds("keepalives_idle")
    }

    fn tls(&self) -> Result<Option<TlsMode>, DatabaseUrlError> {
        let jdbc_ssl = self.0.contains_key("ssl").then_some(TlsMode::Require);
        match self.text("sslmode")? {
            None => Ok(jdbc_ssl),
            Some("disable") => Ok(Some(TlsMode::Disable)),
            Some("prefer" | "allow") => Ok(Some(TlsMode::Prefer)),
            Some("require" | "verify-ca" | "verify-full") => Ok(Some(TlsMode::Require)),
            Some(_) => Err(DatabaseUrlError::TlsMode),
        }
    }
}

/// Returns true if any host is or may be another machine. If a host has a name and an address, both
/// must mean this machine.
fn is_remote(config: &Config) -> bool {
    let named = config.get_hosts().iter().any(|host| match host {
        Host::Tcp(name) => !host::is_loopback(name),
        Host::Unix(_) => false,
    });
    named
        || config
            .get_hostaddrs()
            .iter()
            .any(|address| !address.to_canonical().is_loopback())
}

/// Hides parts that may be secret. The driver's `Debug` shows the user, which may contain a
/// password by mistake.
impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresUrl")
            .field(&self.to_string())
            .finish()
    }
}

/// Shows user, hosts and database, each only if it cannot contain anything else. Passwords and
/// parameters are never shown.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        let secret = if self.config.get_password().is_some() {
            ":***"
        } else {
            ""
        };
        if self.config.get_user().is_some() || !secret.is_empty() {
            write!(
                f,
                "{}{secret}@",
                name(self.config.get_user().unwrap_or_default())
            )?;
        }
        let addresses = self.config.get_hostaddrs().iter().map(ToString::to_string);
        let mut hosts: Vec<String> = self.config.get_hosts().iter().map(shown).collect();
        if hosts.is_empty() {
            hosts.extend(addresses);
        }
        let ports = self.config.get_ports();
        for (index, host) in hosts.iter().enumerate() {
            if index > 0 {
                f.write_char(',')?;
            }
            f.write_str(host)?;
            if let Some(port) = ports
                .get(index)
                .or(ports.first())
                .filter(|port| **port != 5432)
            {
                write!(f, ":{port}")?;
            }
        }
        self.config
            .get_dbname()
            .map_or(Ok(()), |database| write!(f, "/{}", name(database)))
    }
}

fn shown(host: &Host) -> String {
    match host {
        Host::Tcp(name) if name.contains(':') => format!("[{}]", host::shown(name)),
        Host::Tcp(name) => host::shown(name).to_owned(),
        Host::Unix(path) => {
            let path = path.to_string_lossy();
            let parts: Vec<&str> = path.split('/').map(name).collect();
            parts.join("%2F")
        }
    }
}

/// Returns the name. Returns asterisks if it contains a character that common names do not have.
fn name(text: &str) -> &str {
    if text.contains(':') {
        "***"
    } else {
        host::shown(text)
    }
}

#[cfg(test)]
mod tests;
