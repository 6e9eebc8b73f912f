//! Errors that stop the start of the server or of a command.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::{
    config::ConfigError,
    crypto::hasher::HashError,
    ports::StoreError,
    service::{Error, keys::KeysError},
    store::sql::{ConnectError, DatabaseUrl, migrate::MigrateError},
};

/// Why the server does not start. Each is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The file with the first user's password.
    #[error("{path} cannot be written ({1}): expected a directory in which this user may make files", path = .0.display())]
    FirstPassword(PathBuf, io::Error),
    /// The hashing threads.
    #[error("the hashing threads could not be started: {0}")]
    Hash(#[from] HashError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The keys together.
    #[error("LATCHKEY_KEYS: {0}")]
    KeySet(#[from] latchkey_verifier::KeyError),
    /// The address.
    #[error(
        "LATCHKEY_BIND is {0}, which cannot be listened on ({1}): expected a free address of this machine"
    )]
    Listen(SocketAddr, io::Error),
    /// The address of the metrics.
    #[error(
        "LATCHKEY_METRICS_BIND is {0}, which cannot be listened on ({1}): expected a free address of this machine"
    )]
    ListenMetrics(SocketAddr, io::Error),
    /// A migration.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// A use case at the start.
    #[error(transparent)]
    Service(#[from] Error),
    /// A store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database did not come.
    #[error("DATABASE_URL: {0} cannot be reached ({1}): start it{2}, or correct the URL")]
    Unreachable(DatabaseUrl, String, &'static str),
    /// The database has no tables of Latchkey, and a command does not create them.
    #[error(
        "DATABASE_URL: {0} has no tables of Latchkey: correct the URL, or create them with latchkey migrate run"
    )]
    Empty(DatabaseUrl),
    /// The database is there, and is not one to work with.
    #[error("DATABASE_URL: {0} cannot be used: {1}")]
    Unusable(DatabaseUrl, ConnectError),
}
