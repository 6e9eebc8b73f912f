//! File descriptors: limit of this process, and share for client connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Config, ConfigError};
use latchkey_http::server::{METRICS_CONNECTIONS, OVERLAP};

/// Descriptors for keys, the log, the listeners, and short-lived files of libraries.
const BASE_RESERVE: usize = 96;
/// Descriptors for Redis: each thread has a connection to each server.
const REDIS_RESERVE: usize = 64;
/// Descriptors for the event queues of a worker.
const WORKER_RESERVE: usize = 8;
/// Descriptors of a database connection. SQLite opens the database, its write-ahead log, and the
/// index of the log.
const DATABASE_CONNECTION_RESERVE: usize = 3;
/// Minimum number of client connections.
const MIN_CONNECTIONS: usize = 32;
/// Limit to set if the system has no hard limit.
const DEFAULT_LIMIT: u64 = 1 << 20;

/// Raises the limit of open files to the hard limit, and returns it. The usual limit of 1,024
/// exists for programs that call `select`.
pub(super) fn raise_limit() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(DEFAULT_LIMIT);
    let raised = current.is_some_and(|current| current < wanted)
        && setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(wanted),
                maximum,
            },
        )
        .is_ok();
    let limit = if raised { Some(wanted) } else { current };
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

/// Returns the maximum number of client connections: the number in the settings, or fewer if keys,
/// databases and metrics leave fewer of the `descriptors`.
///
/// # Errors
/// If fewer than [`MIN_CONNECTIONS`] are left.
pub(super) fn connections(config: &Config, descriptors: usize) -> Result<usize, ConfigError> {
    let workers = config.http.worker_threads();
    let database = usize::from(config.database.database_pool_size) * DATABASE_CONNECTION_RESERVE;
    let reserved = BASE_RESERVE
        + REDIS_RESERVE
        + METRICS_CONNECTIONS
        + database
        + workers * (WORKER_RESERVE + OVERLAP);
    let wanted = usize::try_from(config.http.max_connections)
        .unwrap_or(usize::MAX)
        .saturating_mul(workers);
    let available = descriptors.saturating_sub(reserved);
    if available < MIN_CONNECTIONS.min(wanted) {
        return Err(ConfigError::new(
            "the limit of open files",
            &format!(
                "is {descriptors}, of which {reserved} are reserved for other uses than client connections"
            ),
            &format!(
                "at least {}: raise it (ulimit -n, LimitNOFILE=, --ulimit nofile=)",
                reserved + MIN_CONNECTIONS
            ),
        ));
    }
    if available < wanted {
        tracing::debug!(
            connections = available,
            descriptors,
            "the limit of open files limits connections"
        );
    }
    Ok(available.min(wanted))
}
