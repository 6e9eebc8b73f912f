//! Where Redis is, and how it is used.

use std::{fmt, fmt::Write as _, str::FromStr, time::Duration};

use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, RedisError,
    TlsCertificates,
};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::url_form::{FORM, NODES, RedisUrlError, SENTINEL_DATABASE, normal};
use crate::store::host;

/// A Redis server, or some of those of a cluster. `Display` hides the passwords.
#[derive(Clone, Debug)]
pub struct RedisUrl {
    urls: Vec<SecretString>,
    shown: String,
}

/// How Redis is used.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// Where it is; with Sentinels, the host is the name of the master.
    pub url: RedisUrl,
    /// The Sentinels that know where the master is.
    pub sentinels: Option<RedisUrl>,
    /// The certificates, in PEM, that servers over TLS are verified by; without them, the system's.
    pub root_certificate: Option<Vec<u8>>,
    /// What all keys begin with.
    pub prefix: String,
    /// For connecting and for an answer, each.
    pub timeout: Duration,
}

impl RedisUrl {
    /// Whether it is one of several servers, each with a URL.
    #[must_use]
    pub const fn is_list(&self) -> bool {
        self.urls.len() > 1
    }

    /// Whether any server is spoken to over TLS.
    #[must_use]
    pub fn uses_tls(&self) -> bool {
        self.infos().is_ok_and(|infos| {
            infos
                .iter()
                .any(|info| matches!(info.addr(), ConnectionAddr::TcpTls { .. }))
        })
    }

    /// Whether every server has a name and a port, as those have that Sentinels and clusters tell of.
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

    /// A list of Sentinels: each has credentials of its own.
    ///
    /// # Errors
    /// When one of them is not a URL of a server in the network.
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
        let likeness = |info: &ConnectionInfo| {
            let redis = info.redis_settings();
            let tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
            (
                redis.username().map(str::to_owned),
                redis.password().map(str::to_owned),
                tls,
            )
        };
        let alike = infos
            .windows(2)
            .all(|pair| matches!(pair, [a, b] if likeness(a) == likeness(b)));
        let plain = infos.iter().all(|info| info.redis_settings().db() == 0) && url.is_network();
        if url.is_list() && !(alike && plain) {
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

/// Host and port, of a server in the network.
pub(super) fn place(address: &ConnectionAddr) -> Option<(&str, u16)> {
    match address {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some((host, *port))
        }
        _ => None,
    }
}

/// The same server settings, elsewhere.
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

/// What opens connections to a server.
pub(super) fn client(
    info: ConnectionInfo,
    root_certificate: Option<&[u8]>,
) -> Result<Client, RedisError> {
    // With RESP3 a server may speak unasked. `CLIENT SETINFO` would be one more command to allow.
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

/// At the commas that another URL follows: a password may hold one.
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

/// Returns the URL with user, host and database, each only if it cannot hold anything else. Passwords and parameters
/// are never included.
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
    fn nodes_of_a_cluster_are_a_list_and_no_password_is_shown() {
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
    fn nodes_of_a_cluster_have_one_login_and_no_database() {
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
    fn a_password_to_another_machine_is_reported_unless_it_is_encrypted() {
        for (url, told) in [
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
                told,
                "{url}"
            );
        }
    }

    #[test]
    fn each_sentinel_has_a_login_of_its_own() {
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
