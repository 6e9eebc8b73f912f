//! Connections to Postgres: one pool for background tasks, and one for each worker if there are
//! enough connections.

use std::sync::Arc;

use diesel_async::{
    AsyncPgConnection,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod, deadpool::Pool,
    },
};
use futures_util::FutureExt as _;
use thread_local::ThreadLocal;
use tokio::runtime::Handle;

use super::{
    connector::PgConnector,
    pool::{PoolLimits, PoolStatus, bad_connection, build},
    postgres_url::PostgresUrl,
    rotation::RotationCoalescer,
    server_clock::ServerClock,
};
use crate::{ports::StoreError, store::thread};

/// Minimum of connections for a worker's own pool, because one slow statement must not block all
/// others.
const MIN_CONNECTIONS: usize = 3;

/// Pools of a process. Clones share them.
#[derive(Clone)]
pub(super) struct PostgresPool(Arc<Pools>);

struct Pools {
    clock: ServerClock,
    driver: PgConnector,
    /// Limits of a worker's pool. `None`: all threads share one pool.
    per_worker: Option<PoolLimits>,
    worker_pools: ThreadLocal<WorkerPool>,
    shared: WorkerPool,
}

/// Pool with the coalescer of its rotations.
pub(super) struct WorkerPool {
    pub connections: Pool<AsyncPgConnection>,
    pub rotations: Arc<RotationCoalescer>,
}

impl PostgresPool {
    /// Creates the pools. The current runtime drives the shared connections.
    pub(super) fn open(
        url: &PostgresUrl,
        limits: PoolLimits,
        clock: &ServerClock,
    ) -> Result<Self, StoreError> {
        let driver = PgConnector::new(url, limits.timeout)
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        let (shared, per_worker) = split_connections(limits);
        let shared = WorkerPool::new(&driver, clock, shared, Some(Handle::current()))?;
        Ok(Self(Arc::new(Pools {
            clock: clock.clone(),
            driver,
            per_worker,
            worker_pools: ThreadLocal::new(),
            shared,
        })))
    }

    /// Returns the connections of the calling thread.
    pub(super) fn connections(&self) -> Result<&Pool<AsyncPgConnection>, StoreError> {
        Ok(&self.local()?.connections)
    }

    /// Returns the pool of the calling thread: its own or the shared one.
    pub(super) fn local(&self) -> Result<&WorkerPool, StoreError> {
        match self.0.per_worker {
            Some(limits) if thread::has_own_runtime() => self
                .0
                .worker_pools
                .get_or_try(|| WorkerPool::new(&self.0.driver, &self.0.clock, limits, None)),
            _ => Ok(&self.0.shared),
        }
    }

    /// Returns the sum over all pools.
    pub(super) fn status(&self, limit: usize) -> PoolStatus {
        let mut sum = PoolStatus {
            open: 0,
            idle: 0,
            limit,
            waiting: 0,
        };
        for pool in self.0.worker_pools.iter().chain([&self.0.shared]) {
            let status = pool.connections.status();
            sum.open += status.size;
            sum.idle += status.available;
            sum.waiting += status.waiting + pool.rotations.waiting();
        }
        sum
    }
}

impl WorkerPool {
    fn new(
        driver: &PgConnector,
        clock: &ServerClock,
        limits: PoolLimits,
        runtime: Option<Handle>,
    ) -> Result<Self, StoreError> {
        let connections = pool(driver, clock, limits, runtime.clone())?;
        let rotations = RotationCoalescer::new(connections.clone(), clock.clone(), limits, runtime);
        Ok(Self {
            connections,
            rotations: Arc::new(rotations),
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

/// Creates a pool. Connections are driven by `runtime`, or else by the runtime of the thread that
/// opens them: a thread may inherit the pool of an ended thread, but not its runtime.
fn pool(
    driver: &PgConnector,
    clock: &ServerClock,
    limits: PoolLimits,
    runtime: Option<Handle>,
) -> Result<Pool<AsyncPgConnection>, StoreError> {
    let (driver, clock) = (driver.clone(), clock.clone());
    let mut manager = ManagerConfig::default();
    manager.recycling_method = RecyclingMethod::Fast;
    manager.custom_setup = Box::new(move |_| {
        let (driver, clock) = (driver.clone(), clock.clone());
        let runtime = runtime.clone().unwrap_or_else(Handle::current);
        let connecting = runtime.spawn(async move {
            let mut connection = driver
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
}
