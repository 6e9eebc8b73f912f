//! Errors of connections to Postgres.

use std::io;

use rustls::Error as TlsError;
use tokio_postgres::{Error, error::SqlState};

use super::{clear_text::ClearText, tls_error::tls_meaning};

/// Error of a connection to the database.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConnectError {
    /// No server replies, or it is not ready yet. A later attempt may succeed.
    #[error("{0}")]
    Unreachable(String),
    /// The server rejects writes. Such a server is not read either, because it may lack recent
    /// revocations.
    #[error(
        "the server is read-only: a replica, or not promoted yet after a fail-over; correct the URL to lead to the primary"
    )]
    ReadOnly,
    /// The server refuses the connection or cannot be trusted. A retry does not help.
    #[error("{0}")]
    Refused(String),
}

pub(super) fn classify(error: &Error) -> ConnectError {
    if let Some(reply) = error.as_db_error() {
        let refused =
            |remedy: &str| ConnectError::Refused(format!("{}: {remedy}", reply.message()));
        return match *reply.code() {
            SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                refused("correct user and password in the URL, or pg_hba.conf on the server")
            }
            SqlState::INVALID_CATALOG_NAME => refused("create it, or correct the URL"),
            // A wrong URL, a missing privilege or an unsupported feature: a retry does not help.
            ref code
                if ["0A", "22", "28", "42"]
                    .iter()
                    .any(|class| code.code().starts_with(class)) =>
            {
                refused("correct the URL, or the configuration of the server")
            }
            _ => ConnectError::Unreachable(reply.message().to_owned()),
        };
    }
    let text = one_line(error);
    if let Some(error) = causes(error).find_map(tls_error) {
        return tls_meaning(error);
    }
    let mut failures = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>());
    if failures.clone().any(|failure| {
        failure
            .get_ref()
            .is_some_and(<dyn std::error::Error + Send + Sync>::is::<ClearText>)
    }) {
        return ConnectError::Refused(format!(
            "{ClearText}: set sslmode=verify-full in the URL, or configure the server for scram-sha-256"
        ));
    }
    if failures.any(is_read_only) {
        return ConnectError::ReadOnly;
    }
    // The driver distinguishes these errors by their texts only.
    if text.ends_with("server does not support TLS") {
        return ConnectError::Refused(
            "the server offers no TLS: enable it on the server, or set sslmode=disable if the network is trusted"
                .to_owned(),
        );
    }
    if text.starts_with("invalid configuration") || text.starts_with("authentication error") {
        return ConnectError::Refused(format!("{text}: correct the URL"));
    }
    ConnectError::Unreachable(text)
}

/// Returns true if the driver rejected the server because of `target_session_attrs`.
fn is_read_only(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
        && error.to_string().contains("does not allow writes")
}

/// Returns true if the TLS handshake failed.
pub(super) fn is_of_tls(error: &Error) -> bool {
    let text = one_line(error);
    text.starts_with("error performing TLS handshake")
        && !text.ends_with("server does not support TLS")
}

/// Returns the TLS error inside an `io::Error`, which is not among its sources.
fn tls_error<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a TlsError> {
    cause
        .downcast_ref::<io::Error>()?
        .get_ref()?
        .downcast_ref::<TlsError>()
}

fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> + Clone {
    std::iter::successors(Some(error), |error| error.source())
}

/// Returns the error with all its causes in one line, because the driver's text omits them.
pub(super) fn one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    texts
        .join(": ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}
