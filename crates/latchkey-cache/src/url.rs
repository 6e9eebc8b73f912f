//! URLs and options of Redis.

use std::{fmt, fmt::Write as _, str::FromStr, time::Duration};

use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, RedisError,
    TlsCertificates,
};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::url_form::{FORM, NODES, RedisUrlError, SENTINEL_DATABASE, normal};
use latchkey_domain::host;

/// URL of a Redis server, or of several nodes of a cluster. `Display` hides the passwords.
#[derive(Clone, Debug)]
pub struct RedisUrl {
    urls: Vec<SecretString>,
    shown: String,
}

/// Options of the Redis client.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// URL of the server. With Sentinels, its host is the name of the master.
    pub url: RedisUrl,
    /// Sentinels that know the address of the master.
    pub sentinels: Option<RedisUrl>,
    /// CA certificates in PEM for TLS. `None` means the system's.
    pub root_certificate: Option<Vec<u8>>,
    /// Prefix of all keys.
    pub prefix: String,
    /// Timeout of a connection attempt, and of a reply.
    pub timeout: Duration,
    /// Workers that have connections of their own. 0: all tasks share one connection to each
    /// server.
    pub workers: usize,
}

impl RedisUrl {
    /// Returns true for several nodes, each with a URL.
    #[must_use]
    pub const fn is_list(&self) -> bool {
        self.urls.len() > 1
    }

    /// Returns true if any server uses TLS.
    #[must_use]
    pub fn uses_tls(&self) -> bool {
        self.infos().is_ok_and(|infos| {
            infos
                .iter()
                .any(|info| matches!(info.addr(), ConnectionAddr::TcpTls { .. }))
        })
    }

    /// Returns true if every server has a host and a port, as Sentinels and clusters require.
    #[must_use]
    pub fn is_network(&self) -> bool {
        self.infos()
            .is_ok_and(|infos| infos.iter().all(|info| place(info.addr()).is_some()))
    }

    /// Returns true if a password crosses a network unencrypted.
    #[must_use]
    pub fn shows_password(&self) -> bool {
        self.infos().is_ok_and(|infos| {
            infos.iter().any(|info| match info.addr() {
                ConnectionAddr::Tcp(host, _) => {
                    info.redis_settings().password().is_some() && !host::is_loopback(host)
                }
                _ => false,
            })
        })
    }

    /// Parses a list of Sentinels, each with its own credentials.
    ///
    /// # Errors
    /// A part that is not a URL with host and port, or that names a database.
    pub fn sentinels(text: &str) -> Result<Self, RedisUrlError> {
        let url = Self::parse(text)?;
        let infos = url.infos().map_err(|_| FORM)?;
        if infos.iter().any(|info| info.redis_settings().db() != 0) {
            return Err(SENTINEL_DATABASE);
        }
        if infos.iter().all(|info| place(info.addr()).is_some()) {
            Ok(url)
        } else {
            Err(FORM)
        }
    }

    pub(super) fn infos(&self) -> Result<Vec<ConnectionInfo>, RedisError> {
        self.urls
            .iter()
            .map(|url| url.expose_secret().into_connection_info())
            .collect()
    }

    fn parse(text: &str) -> Result<Self, RedisUrlError> {
        let urls = split(text).map(normal).collect::<Result<Vec<_>, _>>()?;
        let shown = urls
            .iter()
            .map(shown)
            .collect::<Result<Vec<_>, _>>()?
            .join(",");
        Ok(Self {
            urls: urls
                .into_iter()
                .map(|url| String::from(url).into())
                .collect(),
            shown,
        })
    }
}

impl RedisOptions {
    /// Returns a warning if a password crosses a network unencrypted.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let mut all = [Some(&self.url), self.sentinels.as_ref()]
            .into_iter()
            .flatten();
        let url = all.find(|url| url.shows_password())?;
        Some(format!(
            "the password crosses the network to {url} unencrypted: use rediss:// in place of redis://"
        ))
    }
}

impl FromStr for RedisUrl {
    type Err = RedisUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Self::parse(text)?;
        let infos = url.infos().map_err(|_| FORM)?;
        let login = |info: &ConnectionInfo| {
            let redis = info.redis_settings();
            let tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
            (
                redis.username().map(str::to_owned),
                redis.password().map(str::to_owned),
                tls,
            )
        };
        let same_login = infos
            .windows(2)
            .all(|pair| matches!(pair, [a, b] if login(a) == login(b)));
        let has_no_database =
            infos.iter().all(|info| info.redis_settings().db() == 0) && url.is_network();
        if url.is_list() && !(same_login && has_no_database) {
            Err(NODES)
        } else {
            Ok(url)
        }
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Returns host and port of a server on a network.
pub(super) fn place(address: &ConnectionAddr) -> Option<(&str, u16)> {
    match address {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some((host, *port))
        }
        _ => None,
    }
}

/// Returns the same connection settings for another host and port.
pub(super) fn moved(info: &ConnectionInfo, host: &str, port: u16) -> ConnectionInfo {
    let host = host.to_owned();
    let address = match info.addr() {
        ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    };
    info.clone().set_addr(address)
}

/// Returns a client for connections to a server.
pub(super) fn client(
    info: ConnectionInfo,
    root_certificate: Option<&[u8]>,
) -> Result<Client, RedisError> {
    // With RESP3 a server may push messages. `CLIENT SETINFO` would be one more permission to
    // grant.
    let settings = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP2)
        .set_skip_set_lib_name();
    let info = info.set_redis_settings(settings);
    match (info.addr(), root_certificate) {
        (ConnectionAddr::TcpTls { .. }, Some(pem)) => Client::build_with_tls(
            info,
            TlsCertificates {
                client_tls: None,
                root_cert: Some(pem.to_vec()),
            },
        ),
        _ => Client::open(info),
    }
}

/// Splits a list at each comma followed by another URL, because a password may contain a comma.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let ends = text.match_indices(',').map(|(at, _)| at);
    let mut ends: Vec<_> = ends
        .filter(|at| text.get(at + 1..).is_some_and(begins_with_scheme))
        .collect();
    ends.push(text.len());
    let mut start = 0;
    ends.into_iter().filter_map(move |end| {
        let part = text.get(start..end);
        start = end + 1;
        part
    })
}

fn begins_with_scheme(text: &str) -> bool {
    let scheme = text
        .split_once("://")
        .map(|(scheme, _)| scheme.trim_start());
    scheme.is_some_and(|scheme| {
        !scheme.is_empty()
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-".contains(c))
    })
}

/// Returns the URL with user, host and database. Each is shown only if it cannot contain part of a
/// password. Passwords and parameters are never shown.
fn shown(url: &Url) -> Result<String, RedisUrlError> {
    let info = url.clone().into_connection_info().map_err(|_| FORM)?;
    let mut shown = format!("{}://", url.scheme());
    if place(info.addr()).is_none() {
        shown.push_str(url.path());
        return Ok(shown);
    }
    match (url.username(), url.password()) {
        ("", None) => {}
        (user, _) => shown.extend([host::shown(user), ":***@"]),
    }
    shown.push_str(host::shown(url.host_str().unwrap_or_default()));
    if let Some(port) = url.port() {
        let _ = write!(shown, ":{port}");
    }
    if let Some(database) = url
        .path()
        .strip_prefix('/')
        .filter(|database| !database.is_empty())
    {
        shown.extend(["/", database]);
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::{
        super::url_form::{FORM, NODES, SENTINEL_DATABASE},
        RedisUrl,
    };

    #[test]
    fn cluster_nodes_are_a_list_and_hide_passwords() {
        let url: RedisUrl = "redis://u:a,b@n1:7000,redis://u:a,b@n2:7001"
            .parse()
            .unwrap();
        assert_eq!(
            url.to_string(),
            "redis://u:***@n1:7000,redis://u:***@n2:7001"
        );
        assert!(url.is_list() && !url.uses_tls());
        assert!(
            !"redis://u:a,b@n1:7000"
                .parse::<RedisUrl>()
                .unwrap()
                .is_list()
        );
    }

    #[test]
    fn cluster_nodes_share_one_login_and_have_no_database() {
        for list in [
            "redis://u:a@n1,redis://u:b@n2",
            "redis://n1,rediss://n2",
            "redis://n1,redis://n2/1",
            "redis://n1,redis://:a@n2",
        ] {
            assert_eq!(list.parse::<RedisUrl>().unwrap_err(), NODES, "{list}");
        }
        for text in ["", ",", "http://n1", "redis://n1,redis://"] {
            assert_eq!(text.parse::<RedisUrl>().unwrap_err(), FORM, "{text}");
        }
    }

    #[test]
    fn unencrypted_password_to_another_machine_is_reported() {
        for (url, crosses_network) in [
            ("redis://u:a@cache.example", true),
            ("redis://:a@192.0.2.1:6379/1", true),
            ("redis://u:a@n1,redis://u:a@127.0.0.1", true),
            ("redis://cache.example", false),
            ("rediss://u:a@cache.example", false),
            ("redis://u:a@localhost", false),
            ("redis://u:a@127.0.0.1", false),
            ("redis://u:a@[::1]:6379", false),
            ("unix:///run/redis.sock?pass=a", false),
        ] {
            assert_eq!(
                url.parse::<RedisUrl>().unwrap().shows_password(),
                crosses_network,
                "{url}"
            );
        }
    }

    #[test]
    fn each_sentinel_has_its_own_login() {
        let url = RedisUrl::sentinels("redis://u:a@s1:26379,rediss://s2:26379").unwrap();
        assert_eq!(url.to_string(), "redis://u:***@s1:26379,rediss://s2:26379");
        assert!(url.uses_tls());
        assert!(RedisUrl::sentinels("unix:///run/s.sock").is_err());
        assert_eq!(
            RedisUrl::sentinels("redis://s1:26379/1").unwrap_err(),
            SENTINEL_DATABASE
        );
    }
}
