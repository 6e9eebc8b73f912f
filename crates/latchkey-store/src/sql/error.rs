//! Conversion of database errors into errors of the ports.

use diesel::result::{ConnectionError, DatabaseErrorKind, Error};
use diesel_async::pooled_connection::{PoolError as Connecting, deadpool::PoolError};

use latchkey_domain::ports::StoreError;

/// Converts the error of a query. Errors about the data (a unique index) are handled by the
/// callers. All other errors of the server (shutdown, read-only after a fail-over, statement
/// timeout, full disk) are temporary.
pub(super) fn from_query(error: Error) -> StoreError {
    match error {
        Error::DatabaseError(_, information) => {
            StoreError::Unavailable(information.message().to_owned())
        }
        Error::BrokenTransactionManager | Error::RollbackErrorOnCommit { .. } => {
            StoreError::Unavailable("the connection broke".to_owned())
        }
        other => StoreError::Failed(other.to_string()),
    }
}

pub(super) fn from_pool(error: PoolError) -> StoreError {
    StoreError::Unavailable(match error {
        PoolError::Timeout(_) => "no connection became free in time".to_owned(),
        PoolError::Backend(Connecting::ConnectionError(error)) => {
            without_newlines(&describe(&error))
        }
        other => without_newlines(&other.to_string()),
    })
}

pub(super) fn is_unique_violation(error: &Error) -> bool {
    matches!(
        error,
        Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)
    )
}

fn describe(error: &ConnectionError) -> String {
    match error {
        ConnectionError::BadConnection(text) => text.clone(),
        other => other.to_string(),
    }
}

fn without_newlines(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
