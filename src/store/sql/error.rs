//! What a database said, in the words of the ports.

use diesel::result::{ConnectionError, DatabaseErrorKind, Error};
use diesel_async::pooled_connection::{PoolError as Connecting, deadpool::PoolError};

use crate::ports::StoreError;

/// The only errors that say something about the data are handled where they arise (a unique index). All others of the
/// server's (shutting down, read only after a fail-over, statement timeout, disk full) mean: not now.
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
        PoolError::Timeout(_) => "no free connection in time".to_owned(),
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
