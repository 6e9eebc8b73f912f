//! Where Redis is, and how it is used.

use std::{fmt, fmt::Write as _, str::FromStr, time::Duration};

use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, RedisError, TlsCertificates,
};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::store::host;

/// A Redis server, or some of those of a cluster. `Display` hides the passwords.
#[derive(Clone, Debug)]
pub struct RedisUrl {
    urls: Vec<SecretString>,
    shown: String,
}

/// The text is not the URL of a Redis server.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RedisUrlError {
    /// It is no URL, or none of Redis.
    #[error("expected redis://HOST:PORT/DATABASE, rediss://… for TLS, or unix://PATH")]
    Form,
    /// The nodes of a cluster are told apart by more than where they are.
    #[error("expected the same user, password and scheme for each node of a cluster, and no database")]
    Nodes,
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
        self.infos().is_ok_and(|infos| infos.iter().any(|info| matches!(info.addr(), ConnectionAddr::TcpTls { .. })))
    }

    /// Whether every server has a name and a port, as those have that Sentinels and clusters tell of.
    #[must_use]
    pub fn is_network(&self) -> bool {
        self.infos().is_ok_and(|infos| infos.iter().all(|info| place(info.addr()).is_some()))
    }

    /// Returns true if a password crosses a network unencrypted.
    #[must_use]
    pub fn shows_password(&self) -> bool {
        self.infos().is_ok_and(|infos| {
            infos.iter().any(|info| match info.addr() {
                ConnectionAddr::Tcp(host, _) => info.redis_settings().password().is_some() && !host::is_loopback(host),
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
        if url.is_network() { Ok(url) } else { Err(RedisUrlError::Form) }
    }

    pub(super) fn infos(&self) -> Result<Vec<ConnectionInfo>, RedisError> {
        self.urls.iter().map(|url| url.expose_secret().into_connection_info()).collect()
    }

    fn parse(text: &str) -> Result<Self, RedisUrlError> {
        let urls: Vec<_> = split(text).collect();
        let shown = urls.iter().map(|url| shown(url)).collect::<Result<Vec<_>, _>>()?.join(",");
        Ok(Self { urls: urls.into_iter().map(|url| url.to_owned().into()).collect(), shown })
    }
}

impl RedisOptions {
    /// Returns a warning if a password crosses a network unencrypted.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let mut all = [Some(&self.url), self.sentinels.as_ref()].into_iter().flatten();
        let url = all.find(|url| url.shows_password())?;
        Some(format!("the password crosses the network to {url} unencrypted: use rediss:// in place of redis://"))
    }
}

impl FromStr for RedisUrl {
    type Err = RedisUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Self::parse(text)?;
        let infos = url.infos().map_err(|_| RedisUrlError::Form)?;
        let likeness = |info: &ConnectionInfo| {
            let redis = info.redis_settings();
            let tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
            (redis.username().map(str::to_owned), redis.password().map(str::to_owned), tls)
        };
        let alike = infos.windows(2).all(|pair| matches!(pair, [a, b] if likeness(a) == likeness(b)));
        let plain = infos.iter().all(|info| info.redis_settings().db() == 0) && url.is_network();
        if url.is_list() && !(alike && plain) { Err(RedisUrlError::Nodes) } else { Ok(url) }
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
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => Some((host, *port)),
        _ => None,
    }
}

/// The same server settings, elsewhere.
pub(super) fn moved(info: &ConnectionInfo, host: &str, port: u16) -> ConnectionInfo {
    let host = host.to_owned();
    let address = match info.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    info.clone().set_addr(address)
}

/// What opens connections to a server.
pub(super) fn client(info: ConnectionInfo, root_certificate: Option<&[u8]>) -> Result<Client, RedisError> {
    // With RESP3 a server may speak unasked. `CLIENT SETINFO` would be one more command to allow.
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
    let info = info.set_redis_settings(settings);
    match (info.addr(), root_certificate) {
        (ConnectionAddr::TcpTls { .. }, Some(pem)) => {
            Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) })
        }
        _ => Client::open(info),
    }
}

/// At the commas that another URL follows: a password may hold one.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let schemes = ["redis://", "rediss://", "valkey://", "valkeys://"];
    let ends = text.match_indices(',').map(|(at, _)| at);
    let mut ends: Vec<_> = ends
        .filter(|at| schemes.iter().any(|scheme| text.get(at + 1..).is_some_and(|rest| rest.starts_with(scheme))))
        .collect();
    ends.push(text.len());
    let mut start = 0;
    ends.into_iter().filter_map(move |end| {
        let part = text.get(start..end);
        start = end + 1;
        part
    })
}

/// Returns the URL with user, host and database, each only if it cannot hold anything else. Passwords and parameters
/// are never included.
fn shown(text: &str) -> Result<String, RedisUrlError> {
    let info = text.into_connection_info().map_err(|_| RedisUrlError::Form)?;
    let url = Url::parse(text).map_err(|_| RedisUrlError::Form)?;
    // The rest of a password that is not percent-encoded would be a path or a fragment. In a list, the next element
    // would be a part of the host.
    let comma = place(info.addr()).is_some_and(|(host, _)| host.contains(','));
    let network = place(info.addr()).is_some();
    let misplaced = url.path().contains('@') || (network && url.query().is_some_and(|query| query.contains('@')));
    if comma || misplaced || text.contains('#') {
        return Err(RedisUrlError::Form);
    }
    let mut shown = format!("{}://", url.scheme());
    // A user without a password is most often a password without a user.
    match (url.username(), url.password()) {
        ("", None) => {}
        (_, None) => shown.push_str("***@"),
        (user, Some(_)) => shown.extend([host::shown(user), ":***@"]),
    }
    if !network {
        shown.push_str(url.path());
        return Ok(shown);
    }
    shown.push_str(host::shown(url.host_str().unwrap_or_default()));
    if let Some(port) = url.port() {
        let _ = write!(shown, ":{port}");
    }
    if let Some(database) = url.path().strip_prefix('/') {
        shown.extend(["/", host::shown(database)]);
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::{RedisUrl, RedisUrlError};

    #[test]
    fn nodes_of_a_cluster_are_a_list_and_no_password_is_shown() {
        let url: RedisUrl = "redis://u:a,b@n1:7000,redis://u:a,b@n2:7001".parse().unwrap();
        assert_eq!(url.to_string(), "redis://u:***@n1:7000,redis://u:***@n2:7001");
        assert!(url.is_list() && !url.uses_tls());
        assert!(!"redis://u:a,b@n1:7000".parse::<RedisUrl>().unwrap().is_list());
    }

    #[test]
    fn nodes_of_a_cluster_have_one_login_and_no_database() {
        for list in [
            "redis://u:a@n1,redis://u:b@n2",
            "redis://n1,rediss://n2",
            "redis://n1,redis://n2/1",
            "redis://n1,redis://u@n2",
        ] {
            assert_eq!(list.parse::<RedisUrl>().unwrap_err(), RedisUrlError::Nodes, "{list}");
        }
        for text in ["", ",", "redis://n1,", "redis://n1,n2", "http://n1", "redis://n1,redis://"] {
            assert_eq!(text.parse::<RedisUrl>().unwrap_err(), RedisUrlError::Form, "{text}");
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
            assert_eq!(url.parse::<RedisUrl>().unwrap().shows_password(), told, "{url}");
        }
    }

    #[test]
    fn each_sentinel_has_a_login_of_its_own() {
        let url = RedisUrl::sentinels("redis://u:a@s1:26379,rediss://s2:26379").unwrap();
        assert_eq!(url.to_string(), "redis://u:***@s1:26379,rediss://s2:26379");
        assert!(url.uses_tls());
        assert!(RedisUrl::sentinels("unix:///run/s.sock").is_err());
    }
}
