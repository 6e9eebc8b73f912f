//! Parameters of libpq, and those of other clients that are common in URLs.

use crate::sql::DatabaseUrlError;

/// Treatment of a parameter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Treatment {
    /// The parameter has its effect.
    Taken,
    /// Accepts these values, which match the behaviour of Latchkey. For others, the text names the
    /// alternative.
    Fixed(&'static [&'static str], &'static str),
    /// Refused. The text names the alternative.
    Refused(&'static str),
}

use Treatment::{Fixed, Refused, Taken};

const OFF: &[&str] = &["0", "false", "off", "no"];
const TIMEOUT: &str = "set LATCHKEY_DATABASE_TIMEOUT";
const POOL: &str = "set LATCHKEY_DATABASE_POOL_SIZE";
const IN_URL: &str = "write host, database, user and password into the URL, or the URL into the file of DATABASE_URL_FILE";
const NO_CLIENT_CERTIFICATE: &str =
    "Latchkey signs in with a password, and not with a client certificate";
const NO_GSS: &str = "Latchkey signs in with a password, and not with Kerberos";
const NO_LIST: &str = "Latchkey reads no lists of revoked certificates";
const SCHEMA: &str = "name the schema by options=-csearch_path%3DSCHEMA";
const SSLMODE: &str = "set sslmode";

/// All parameters, in the order of libpq's documentation.
const PARAMETERS: [(&str, Treatment); 68] = [
    ("host", Taken),
    ("hostaddr", Taken),
    ("port", Taken),
    ("dbname", Taken),
    ("user", Taken),
    ("password", Taken),
    ("passfile", Refused(IN_URL)),
    (
        "require_auth",
        Refused("let pg_hba.conf of the server choose the method"),
    ),
    ("channel_binding", Taken),
    ("connect_timeout", Taken),
    (
        "client_encoding",
        Fixed(
            &["UTF8", "utf8", "UTF-8", "utf-8", "unicode", "auto"],
            "it is always UTF8",
        ),
    ),
    ("options", Taken),
    ("application_name", Taken),
    ("fallback_application_name", Taken),
    ("keepalives", Taken),
    ("keepalives_idle", Taken),
    ("keepalives_interval", Taken),
    ("keepalives_count", Taken),
    ("tcp_user_timeout", Taken),
    ("replication", Fixed(OFF, "Latchkey runs statements")),
    ("gssencmode", Fixed(&["disable", "prefer"], NO_GSS)),
    ("sslmode", Taken),
    ("requiressl", Fixed(&["0"], SSLMODE)),
    (
        "sslnegotiation",
        Fixed(&["postgres"], "TLS begins after a request to the server"),
    ),
    (
        "sslcompression",
        Fixed(&["0"], "TLS compression is not safe"),
    ),
    ("sslcert", Refused(NO_CLIENT_CERTIFICATE)),
    ("sslkey", Refused(NO_CLIENT_CERTIFICATE)),
    (
        "sslkeylogfile",
        Refused("Latchkey writes no secrets of TLS"),
    ),
    ("sslpassword", Refused(NO_CLIENT_CERTIFICATE)),
    (
        "sslcertmode",
        Fixed(&["disable", "allow"], NO_CLIENT_CERTIFICATE),
    ),
    ("sslrootcert", Taken),
    ("sslcrl", Refused(NO_LIST)),
    ("sslcrldir", Refused(NO_LIST)),
    (
        "sslsni",
        Fixed(&["1"], "the name of the server is always sent"),
    ),
    (
        "requirepeer",
        Refused("protect the directory of the socket instead"),
    ),
    (
        "ssl_min_protocol_version",
        Fixed(
            &["TLSv1", "TLSv1.1", "TLSv1.2"],
            "set the lowest version on the server",
        ),
    ),
    (
        "ssl_max_protocol_version",
        Fixed(&["TLSv1.3"], "set the highest version on the server"),
    ),
    (
        "min_protocol_version",
        Fixed(&["3.0"], "Latchkey speaks version 3.0 of the protocol"),
    ),
    (
        "max_protocol_version",
        Fixed(
            &["3.0", "latest"],
            "Latchkey speaks version 3.0 of the protocol",
        ),
    ),
    ("krbsrvname", Refused(NO_GSS)),
    ("gsslib", Refused(NO_GSS)),
    ("gssdelegation", Fixed(&["0"], NO_GSS)),
    (
        "scram_client_key",
        Refused("write the password into the URL"),
    ),
    (
        "scram_server_key",
        Refused("write the password into the URL"),
    ),
    ("service", Refused(IN_URL)),
    ("servicefile", Refused(IN_URL)),
    (
        "target_session_attrs",
        Fixed(
            &["any", "read-write", "primary"],
            "Latchkey needs a primary",
        ),
    ),
    ("load_balance_hosts", Taken),
    ("oauth_issuer", Refused("Latchkey signs in with a password")),
    (
        "oauth_client_id",
        Refused("Latchkey signs in with a password"),
    ),
    (
        "oauth_client_secret",
        Refused("Latchkey signs in with a password"),
    ),
    ("oauth_scope", Refused("Latchkey signs in with a password")),
    // An alias that libpq supports for JDBC.
    ("ssl", Fixed(&["true"], SSLMODE)),
    // Parameters of other clients.
    ("schema", Refused(SCHEMA)),
    ("currentSchema", Refused(SCHEMA)),
    ("search_path", Refused(SCHEMA)),
    ("pgbouncer", Refused("leave it out: a pooler is detected")),
    (
        "statement_cache_capacity",
        Refused("leave it out: a pooler is detected"),
    ),
    (
        "statement_cache_size",
        Refused("leave it out: a pooler is detected"),
    ),
    (
        "prepareThreshold",
        Refused("leave it out: a pooler is detected"),
    ),
    ("connection_limit", Refused(POOL)),
    ("pool_size", Refused(POOL)),
    ("max_connections", Refused(POOL)),
    ("pool_timeout", Refused(TIMEOUT)),
    ("statement_timeout", Refused(TIMEOUT)),
    ("connectTimeout", Refused(TIMEOUT)),
    ("socketTimeout", Refused(TIMEOUT)),
    ("sslaccept", Refused(SSLMODE)),
];

/// Returns the static name of a parameter that has an effect with this value.
///
/// # Errors
/// [`DatabaseUrlError::Unsupported`], [`DatabaseUrlError::Parameter`].
pub(super) fn known(name: &str, value: &[u8]) -> Result<&'static str, DatabaseUrlError> {
    let (name, treatment) = PARAMETERS
        .into_iter()
        .find(|(known, _)| *known == name)
        .ok_or(DatabaseUrlError::Parameter)?;
    match treatment {
        Fixed(values, hint) if !values.iter().any(|known| known.as_bytes() == value) => {
            Err(DatabaseUrlError::Unsupported(name, hint))
        }
        Refused(hint) => Err(DatabaseUrlError::Unsupported(name, hint)),
        Fixed(..) | Taken => Ok(name),
    }
}
