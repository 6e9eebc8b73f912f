//! Forms of a Redis URL. Forms of other clients are translated or refused; no part of a URL is
//! ignored.

use std::borrow::Cow;

use url::Url;

/// Error for a Redis URL that is refused. It repeats no text of the URL except the names of known
/// parameters.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{wrong}: expected {right}")]
pub struct RedisUrlError {
    /// Predicate about the setting: `is not …`, `has …`.
    pub wrong: Cow<'static, str>,
    /// Noun phrase for the accepted form.
    pub right: &'static str,
}

pub(super) const FORM: RedisUrlError = refusal(
    "is not the URL of a Redis server",
    "redis://HOST:PORT/DATABASE, rediss://… for TLS, or unix:///PATH",
);
pub(super) const NODES: RedisUrlError = refusal(
    "is not a list of nodes",
    "the same user, password and scheme for each node of a cluster, and no database",
);
const ESCAPES: RedisUrlError = refusal(
    "has a character with a meaning in URLs where none belongs",
    "%40 for @, %2F for /, %23 for #, %3F for ? and %3A for : in the user and the password",
);
const COMMA: RedisUrlError = refusal(
    "has a comma in the host",
    "redis://NODE,redis://NODE with the scheme for each node of a cluster",
);
const INSECURE: RedisUrlError = refusal(
    "turns off the verification of certificates (#insecure)",
    "no fragment, and LATCHKEY_REDIS_ROOT_CERTIFICATE for an authority of your own",
);
const USER_ALONE: RedisUrlError = refusal(
    "has a user without a password",
    "redis://:PASSWORD@HOST, or redis://USER:PASSWORD@HOST",
);
const DATABASE: RedisUrlError = refusal(
    "does not name a database by its number",
    "redis://HOST:PORT/NUMBER",
);
const DATABASES: RedisUrlError = refusal(
    "names two databases",
    "the number of one, as a path or as ?db=NUMBER",
);
const WILDCARD: RedisUrlError = refusal(
    "has an address that servers listen on and no client connects to",
    "127.0.0.1 or a host name",
);
const SOCKET_HOST: RedisUrlError = refusal(
    "has a host before the path of a socket",
    "unix:///PATH?user=USER&pass=PASSWORD&db=NUMBER",
);
const PROTOCOL: RedisUrlError = refusal(
    "requests an unsupported protocol",
    "protocol=2, or no parameter",
);
const TWICE: RedisUrlError = refusal("has a parameter twice", "each parameter once");
const PARAMETER: RedisUrlError = refusal(
    "has an unknown parameter",
    "no parameter but db and protocol, and user and pass for a socket; %3F for a ? in a password",
);
const SENTINEL: RedisUrlError = refusal(
    "has a scheme of Sentinel",
    "redis://NAME/DATABASE with the name of the master, and the Sentinels in LATCHKEY_REDIS_SENTINELS",
);
pub(super) const SENTINEL_DATABASE: RedisUrlError = refusal(
    "has a database, and Sentinels have none",
    "redis://HOST:26379, and the database of the master in REDIS_URL",
);
const CLUSTER: RedisUrlError = refusal("has a scheme of a cluster", "redis://NODE,redis://NODE");

const CERTIFICATES: &str = "rediss:// and LATCHKEY_REDIS_ROOT_CERTIFICATE";
const TIMEOUT: &str = "LATCHKEY_REDIS_TIMEOUT";
const MASTER: &str = "redis://NAME and LATCHKEY_REDIS_SENTINELS";
const PREFIX: &str = "LATCHKEY_REDIS_PREFIX";
const NO_COUNTERPART: &str = "a URL without it";

/// Parameters of other clients, and their counterparts in Latchkey.
const FOREIGN: [(&str, &str); 34] = [
    ("ssl", CERTIFICATES),
    ("tls", CERTIFICATES),
    ("insecure", CERTIFICATES),
    ("ssl_cert_reqs", CERTIFICATES),
    ("ssl_ca_certs", CERTIFICATES),
    ("ssl_ca_path", CERTIFICATES),
    ("ssl_ca_data", CERTIFICATES),
    ("ssl_check_hostname", CERTIFICATES),
    ("ssl_certfile", NO_COUNTERPART),
    ("ssl_keyfile", NO_COUNTERPART),
    ("timeout", TIMEOUT),
    ("connection_timeout", TIMEOUT),
    ("connect_timeout", TIMEOUT),
    ("dial_timeout", TIMEOUT),
    ("read_timeout", TIMEOUT),
    ("write_timeout", TIMEOUT),
    ("socket_timeout", TIMEOUT),
    ("socket_connect_timeout", TIMEOUT),
    ("sentinelmasterid", MASTER),
    ("master_name", MASTER),
    ("service_name", MASTER),
    ("prefix", PREFIX),
    ("key_prefix", PREFIX),
    ("client_name", NO_COUNTERPART),
    ("decode_responses", NO_COUNTERPART),
    ("encoding", NO_COUNTERPART),
    ("health_check_interval", NO_COUNTERPART),
    ("idle_timeout", NO_COUNTERPART),
    ("max_connections", NO_COUNTERPART),
    ("max_retries", NO_COUNTERPART),
    ("pool_size", NO_COUNTERPART),
    ("retry_on_timeout", NO_COUNTERPART),
    ("socket_keepalive", NO_COUNTERPART),
    ("virtual_host", NO_COUNTERPART),
];

/// Accepted schemes, and the scheme that the driver reads.
const SCHEMES: [(&str, &str); 15] = [
    ("redis", "redis"),
    ("valkey", "redis"),
    ("redis+tcp", "redis"),
    ("rediss", "rediss"),
    ("valkeys", "rediss"),
    ("redis+tls", "rediss"),
    ("redis+ssl", "rediss"),
    ("redis-tls", "rediss"),
    ("redis-ssl", "rediss"),
    ("unix", "unix"),
    ("redis+unix", "unix"),
    ("valkey+unix", "unix"),
    ("redis+socket", "unix"),
    ("redis-socket", "unix"),
    ("redis-unix", "unix"),
];

const fn refusal(wrong: &'static str, right: &'static str) -> RedisUrlError {
    RedisUrlError {
        wrong: Cow::Borrowed(wrong),
        right,
    }
}

impl RedisUrlError {
    /// Returns true if the text is not a Redis URL at all.
    #[must_use]
    pub fn is_form(&self) -> bool {
        *self == FORM
    }
}

/// Parameters of a URL.
#[derive(Default)]
struct Parameters {
    database: Option<String>,
    user: Option<String>,
    password: Option<String>,
}

/// Returns the URL in the form that the driver reads.
///
/// # Errors
/// A part that the driver would ignore, or that may belong to a password.
pub(super) fn normal(text: &str) -> Result<Url, RedisUrlError> {
    let text = text.trim();
    if text.contains(char::is_control) {
        return Err(FORM);
    }
    let (scheme, rest) = text.split_once("://").ok_or(FORM)?;
    let scheme = scheme.to_ascii_lowercase();
    if scheme.starts_with("redis") && scheme.contains("sentinel") {
        return Err(SENTINEL);
    }
    if scheme.starts_with("redis") && scheme.contains("cluster") {
        return Err(CLUSTER);
    }
    let (_, scheme) = SCHEMES
        .iter()
        .find(|(name, _)| *name == scheme)
        .ok_or(FORM)?;
    let url = Url::parse(&format!("{scheme}://{rest}")).map_err(|_| malformed(scheme, rest))?;
    let misplaced =
        url.path().contains('@') || url.query().is_some_and(|query| query.contains('@'));
    match url.fragment() {
        None => {}
        Some("insecure") if !misplaced => return Err(INSECURE),
        Some(_) => return Err(ESCAPES),
    }
    if *scheme == "unix" {
        return socket(url);
    }
    if misplaced {
        return Err(ESCAPES);
    }
    server(url)
}

/// Returns the error for a URL that cannot be parsed. Most often, a password contains a
/// character that ends it.
fn malformed(scheme: &str, rest: &str) -> RedisUrlError {
    match rest {
        _ if scheme == "unix" => SOCKET_HOST,
        _ if rest.contains('@') => ESCAPES,
        _ if rest.contains(',') => COMMA,
        _ => FORM,
    }
}

fn server(mut url: Url) -> Result<Url, RedisUrlError> {
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(FORM)?;
    if host.contains(',') {
        return Err(COMMA);
    }
    if ["0.0.0.0", "[::]"].contains(&host) {
        return Err(WILDCARD);
    }
    if !url.username().is_empty() && url.password().is_none_or(str::is_empty) {
        return Err(USER_ALONE);
    }
    let Parameters {
        database,
        user,
        password,
    } = parameters(&url)?;
    if user.is_some() || password.is_some() {
        return Err(foreign("password", "redis://USER:PASSWORD@HOST"));
    }
    let path = url.path().trim_matches('/').to_owned();
    let path = (!path.is_empty()).then_some(path);
    let database = match (path, database) {
        (Some(path), Some(parameter)) if path != parameter => return Err(DATABASES),
        (path, parameter) => path.or(parameter),
    };
    url.set_query(None);
    url.set_path(&numbered(database)?);
    Ok(url)
}

fn socket(mut url: Url) -> Result<Url, RedisUrlError> {
    if url.has_host() && url.host_str().is_some_and(|host| !host.is_empty())
        || !url.path().starts_with('/')
    {
        return Err(SOCKET_HOST);
    }
    let Parameters {
        database,
        user,
        password,
    } = parameters(&url)?;
    let database = numbered(database)?;
    url.set_query(None);
    if user.is_some() && password.is_none() {
        return Err(USER_ALONE);
    }
    if !database.is_empty() || password.is_some() {
        let mut query = url.query_pairs_mut();
        let login = [("user", user), ("pass", password)];
        query.extend_pairs(
            login
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        if !database.is_empty() {
            query.append_pair("db", &database);
        }
    }
    Ok(url)
}

/// Returns the number of a database, or an empty text for the first.
fn numbered(database: Option<String>) -> Result<String, RedisUrlError> {
    match database {
        None => Ok(String::new()),
        Some(database) if database.parse::<u16>().is_ok() => Ok(database),
        Some(_) => Err(DATABASE),
    }
}

fn parameters(url: &Url) -> Result<Parameters, RedisUrlError> {
    let mut all = Parameters::default();
    let mut protocol = None;
    for (name, value) in url.query_pairs() {
        let name = name.to_ascii_lowercase();
        let slot = match name.as_str() {
            "db" | "database" => &mut all.database,
            "user" | "username" => &mut all.user,
            "pass" | "password" => &mut all.password,
            "protocol" => &mut protocol,
            _ => {
                let known = FOREIGN.iter().find(|(foreign, _)| *foreign == name);
                return Err(known.map_or(PARAMETER, |(name, right)| foreign(name, right)));
            }
        };
        if slot.replace(value.into_owned()).is_some() {
            return Err(TWICE);
        }
    }
    match protocol.as_deref() {
        None | Some("2" | "resp2") => Ok(all),
        Some(_) => Err(PROTOCOL),
    }
}

fn foreign(name: &str, right: &'static str) -> RedisUrlError {
    RedisUrlError {
        wrong: format!("has the parameter {name}, which is not used").into(),
        right,
    }
}

#[cfg(test)]
#[path = "url_form_tests.rs"]
mod tests;
