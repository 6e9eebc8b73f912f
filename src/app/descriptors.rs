//! File descriptors: the limit of this process, and the share for client connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    config::{Config, ConfigError},
    http::server::{METRICS_CONNECTIONS, OVERLAP},
};

/// For keys, the log, the listeners, and short-lived files of libraries.
const RESERVE: usize = 96;
/// For Redis: each thread has a connection to each server.
const REDIS: usize = 64;
/// For the event queues of a thread.
const WORKER: usize = 8;
/// SQLite opens three files for a connection: the database, its log, and the index of the log.
const DATABASE_CONNECTION: usize = 3;
/// The minimum of connections that a server needs.
const FEWEST: usize = 32;
/// The limit to request if the system sets none.
const PLENTY: u64 = 1 << 20;

/// Raises the limit of open files to the hard limit, and returns it. The usual limit of 1,024 exists for programs that
/// call `select`.
pub(super) fn raise_limit() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(PLENTY);
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

/// Returns the number of client connections for a process with so many descriptors: the number in the settings, or
/// fewer if keys, databases and metrics leave fewer descriptors.
///
/// # Errors
/// If too few are left for a server.
pub(super) fn connections(config: &Config, descriptors: usize) -> Result<usize, ConfigError> {
    let workers = config.http.worker_threads();
    let database = usize::from(config.database.database_pool_size) * DATABASE_CONNECTION;
    let reserved = RESERVE + REDIS + METRICS_CONNECTIONS + database + workers * (WORKER + OVERLAP);
    let asked = usize::try_from(config.http.max_connections)
        .unwrap_or(usize::MAX)
        .saturating_mul(workers);
    let left = descriptors.saturating_sub(reserved);
    if left < FEWEST.min(asked) {
        return Err(ConfigError::new(
            "the limit of open files",
            &format!(
                "is {descriptors}, of which {reserved} are reserved for other uses than client connections"
            ),
            &format!(
                "at least {}: raise it (ulimit -n, LimitNOFILE=, --ulimit nofile=)",
                reserved + FEWEST
            ),
        ));
    }
    if left < asked {
        tracing::debug!(
            connections = left,
            descriptors,
            "the limit of open files limits connections"
        );
    }
    Ok(left.min(asked))
}
