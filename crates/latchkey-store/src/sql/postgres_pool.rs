//! Connections to Postgres: one pool for background tasks, and one for each worker if there are
//! enough connections.

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicUsize, Ordering},
};

use diesel_async::{
    AsyncPgConnection,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod, deadpool::Pool,
    },
};
use futures_util::FutureExt as _;
use tokio::runtime::Handle;

use super::{
    connector::PgConnector,
    pool::{PoolLimits, PoolStatus, bad_connection, build},
    postgres_url::PostgresUrl,
    server_clock::ServerClock,
};
use latchkey_domain::ports::StoreError;

/// Minimum of connections for a worker's own pool, because one slow statement must not block all
/// others.
const MIN_CONNECTIONS: usize = 3;

/// One pool of a process. Clones share it.
#[derive(Clone)]
pub(super) struct PostgresPool {
    connections: Arc<Pool<AsyncPgConnection>>,
    limits: PoolLimits,
    process: Arc<Process>,
    runtime: Handle,
}

/// All pools of a process.
struct Process {
    clock: ServerClock,
    connector: PgConnector,
    /// Limits of a worker's pool. `None`: all threads share one pool.
    per_worker: Option<PoolLimits>,
    pools: Mutex<Vec<Weak<Pool<AsyncPgConnection>>>>,
    /// Rotations that wait for a batch.
    waiting_rotations: Arc<AtomicUsize>,
}

impl PostgresPool {
    /// Creates the shared pool. The current runtime drives its connections.
    pub(super) fn open(
        url: &PostgresUrl,
        limits: PoolLimits,
        clock: &ServerClock,
    ) -> Result<Self, StoreError> {
        let connector = PgConnector::new(url, limits.timeout)
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        let (shared, per_worker) = split_connections(limits);
        let process = Process {
            clock: clock.clone(),
            connector,
            per_worker,
            pools: Mutex::default(),
            waiting_rotations: Arc::default(),
        };
        Arc::new(process).pool(shared)
    }

    /// Returns a pool whose connections the current runtime drives, or this one if there are not
    /// enough connections for that.
    pub(super) fn for_worker(&self) -> Result<Self, StoreError> {
        match self.process.per_worker {
            Some(limits) => Arc::clone(&self.process).pool(limits),
            None => Ok(self.clone()),
        }
    }

    pub(super) fn connections(&self) -> &Pool<AsyncPgConnection> {
        &self.connections
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.connections, &other.connections)
    }

    pub(super) const fn limits(&self) -> PoolLimits {
        self.limits
    }

    /// Returns the runtime that drives the connections.
    pub(super) const fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Returns the number of rotations that wait for a batch, to be updated by the coalescers.
    pub(super) fn waiting_rotations(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.process.waiting_rotations)
    }

    /// Returns the sum over all pools of the process.
    pub(super) fn status(&self, limit: usize) -> PoolStatus {
        let mut sum = PoolStatus {
            open: 0,
            idle: 0,
            limit,
            waiting: self.process.waiting_rotations.load(Ordering::Relaxed),
        };
        let pools = self.process.pools.lock();
        let pools = pools.unwrap_or_else(PoisonError::into_inner);
        for pool in pools.iter().filter_map(Weak::upgrade) {
            let status = pool.status();
            sum.open += status.size;
            sum.idle += status.available;
            sum.waiting += status.waiting;
        }
        sum
    }
}

impl Process {
    fn pool(self: Arc<Self>, limits: PoolLimits) -> Result<PostgresPool, StoreError> {
        let runtime = Handle::current();
        let connections = Arc::new(pool(&self.connector, &self.clock, limits, runtime.clone())?);
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(&connections));
        drop(pools);
        Ok(PostgresPool {
            connections,
            limits,
            process: self,
            runtime,
        })
    }
}

/// Splits the connections between the shared pool and each worker.
fn split_connections(limits: PoolLimits) -> (PoolLimits, Option<PoolLimits>) {
    let per_worker = limits
        .connections
        .saturating_sub(MIN_CONNECTIONS)
        .checked_div(limits.threads)
        .unwrap_or_default();
    if per_worker < MIN_CONNECTIONS {
        return (limits, None);
    }
    let shared = limits.connections - per_worker * limits.threads;
    (
        PoolLimits {
            connections: shared,
            ..limits
        },
        Some(PoolLimits {
            connections: per_worker,
            ..limits
        }),
    )
}

/// Creates a pool whose connections `runtime` drives.
fn pool(
    connector: &PgConnector,
    clock: &ServerClock,
    limits: PoolLimits,
    runtime: Handle,
) -> Result<Pool<AsyncPgConnection>, StoreError> {
    let (connector, clock) = (connector.clone(), clock.clone());
    let mut manager = ManagerConfig::default();
    manager.recycling_method = RecyclingMethod::Fast;
    manager.custom_setup = Box::new(move |_| {
        let (connector, clock) = (connector.clone(), clock.clone());
        let connecting = runtime.spawn(async move {
            let mut connection = connector
                .connect()
                .await
                .map_err(|error| bad_connection(&error))?;
            clock
                .measure(&mut connection)
                .await
                .map_err(|error| bad_connection(&error))?;
            Ok(connection)
        });
        async move {
            connecting
                .await
                .unwrap_or_else(|error| Err(bad_connection(&error)))
        }
        .boxed()
    });
    build(
        AsyncDieselConnectionManager::new_with_config("postgres", manager),
        limits,
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sql::SqlPool;

    fn numbers(connections: usize, threads: usize) -> (usize, Option<usize>) {
        let (shared, per_worker) = split_connections(PoolLimits {
            connections,
            threads,
            timeout: Duration::from_secs(5),
        });
        (
            shared.connections,
            per_worker.map(|per_worker| per_worker.connections),
        )
    }

    #[test]
    fn workers_have_pools_if_three_connections_remain_for_each() {
        assert_eq!(numbers(16, 2), (4, Some(6)));
        assert_eq!(numbers(16, 4), (4, Some(3)));
        assert_eq!(numbers(9, 2), (3, Some(3)));
        assert_eq!(numbers(8, 2), (8, None));
        assert_eq!(numbers(16, 8), (16, None));
        assert_eq!(numbers(1, 1), (1, None));
        assert_eq!(numbers(10, 0), (10, None));
    }

    #[test]
    fn split_uses_exactly_the_allowed_connections() {
        for connections in 1..40 {
            for threads in 0..20 {
                let (shared, per_worker) = numbers(connections, threads);
                assert!(
                    shared >= 1 && shared + per_worker.unwrap_or_default() * threads == connections
                );
            }
        }
    }

    #[tokio::test]
    async fn workers_share_a_pool_that_is_too_small_to_split() {
        let url = "postgres://u@127.0.0.1/d".parse().unwrap();
        let is_shared = |connections| {
            let limits = PoolLimits {
                connections,
                threads: 5,
                timeout: Duration::from_secs(5),
            };
            let pool = SqlPool::open(&url, limits).unwrap();
            pool.is_same(&pool.for_worker().unwrap())
        };
        assert!(is_shared(16));
        assert!(!is_shared(18));
    }
}
