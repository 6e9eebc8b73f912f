//! Errors that stop the start of the server or of a command.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::config::ConfigError;
use latchkey_crypto::hasher::HashError;
use latchkey_domain::ports::StoreError;
use latchkey_service::{Error, keys::KeysError};
use latchkey_store::sql::{ConnectError, DatabaseUrl, migrate::MigrateError};

/// Reason that the server or a command does not start. Each message is one line, with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Invalid setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// File with the first user's password that cannot be written.
    #[error("{path} cannot be written ({1}): expected a directory in which this user may create files", path = .0.display())]
    FirstPassword(PathBuf, io::Error),
    /// Failure to start the hashing threads.
    #[error("the hashing threads could not be started: {0}")]
    Hash(#[from] HashError),
    /// Key that cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// Key set that cannot be used.
    #[error("LATCHKEY_KEYS: {0}")]
    KeySet(#[from] latchkey_verifier::KeyError),
    /// Address that the server cannot listen on.
    #[error(
        "LATCHKEY_BIND is {0}, which is not available ({1}): expected a free address of this machine"
    )]
    Listen(SocketAddr, io::Error),
    /// Address of the metrics that the server cannot listen on.
    #[error(
        "LATCHKEY_METRICS_BIND is {0}, which is not available ({1}): expected a free address of this machine"
    )]
    ListenMetrics(SocketAddr, io::Error),
    /// Failed migration.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// Failed use case at the start.
    #[error(transparent)]
    Service(#[from] Error),
    /// Failure of a store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Database that cannot be reached.
    #[error("DATABASE_URL: {0} cannot be reached ({1}): start it{2}, or correct the URL")]
    Unreachable(DatabaseUrl, String, &'static str),
    /// Database without the tables of Latchkey, which a command does not create.
    #[error(
        "DATABASE_URL: {0} has no tables of Latchkey: correct the URL, or create them with latchkey migrate run"
    )]
    Empty(DatabaseUrl),
    /// Database that can be reached but not used.
    #[error("DATABASE_URL: {0} cannot be used: {1}")]
    Unusable(DatabaseUrl, ConnectError),
}
