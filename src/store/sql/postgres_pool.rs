//! Connections to Postgres: a pool for what runs in the background, and one for each thread of the web server, if there
//! are enough connections for that.

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
    pool::{PoolLimits, PoolStatus, bad, build},
    postgres_url::PostgresUrl,
    rotation::RotationCoalescer,
    server_clock::ServerClock,
};
use crate::{ports::StoreError, store::thread};

/// The fewest connections with which a thread is left to itself: one slow statement must not stop all others.
const MIN_CONNECTIONS: usize = 3;

/// Cloning shares the pools.
#[derive(Clone)]
pub(super) struct PostgresPool(Arc<Pools>);

struct Pools {
    clock: ServerClock,
    driver: PgConnector,
    /// The limits of a thread's own pool; `None`: all share one.
    each: Option<PoolLimits>,
    own: ThreadLocal<WorkerPool>,
    shared: WorkerPool,
}

/// What is used together by those who share connections.
pub(super) struct WorkerPool {
    pub connections: Pool<AsyncPgConnection>,
    pub rotations: Arc<RotationCoalescer>,
}

impl PostgresPool {
    /// The shared connections are driven by the runtime that this is called on.
    pub(super) fn open(
        url: &PostgresUrl,
        limits: PoolLimits,
        clock: &ServerClock,
    ) -> Result<Self, StoreError> {
        let driver = PgConnector::new(url, limits.timeout)
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        let (shared, each) = split_connections(limits);
        let shared = WorkerPool::new(&driver, clock, shared, Some(Handle::current()))?;
        Ok(Self(Arc::new(Pools {
            clock: clock.clone(),
            driver,
            each,
            own: ThreadLocal::new(),
            shared,
        })))
    }

    /// The connections of the thread that asks.
    pub(super) fn connections(&self) -> Result<&Pool<AsyncPgConnection>, StoreError> {
        Ok(&self.local()?.connections)
    }

    /// What the thread that asks has or shares.
    pub(super) fn local(&self) -> Result<&WorkerPool, StoreError> {
        match self.0.each {
            Some(limits) if thread::has_own_runtime() => self
                .0
                .own
                .get_or_try(|| WorkerPool::new(&self.0.driver, &self.0.clock, limits, None)),
            _ => Ok(&self.0.shared),
        }
    }

    /// Of all pools together.
    pub(super) fn status(&self, limit: usize) -> PoolStatus {
        let mut sum = PoolStatus {
            open: 0,
            idle: 0,
            limit,
            waiting: 0,
        };
        for place in self.0.own.iter().chain([&self.0.shared]) {
            let status = place.connections.status();
            sum.open += status.size;
            sum.idle += status.available;
            sum.waiting += status.waiting + place.rotations.waiting();
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

/// Who gets how many: first the shared pool, then each thread.
fn split_connections(limits: PoolLimits) -> (PoolLimits, Option<PoolLimits>) {
    let each = limits
        .connections
        .saturating_sub(MIN_CONNECTIONS)
        .checked_div(limits.threads)
        .unwrap_or_default();
    if each < MIN_CONNECTIONS {
        return (limits, None);
    }
    let shared = limits.connections - each * limits.threads;
    (
        PoolLimits {
            connections: shared,
            ..limits
        },
        Some(PoolLimits {
            connections: each,
            ..limits
        }),
    )
}

/// Connections are driven by `runtime`, whoever asks first, or else by that of whoever asks: a thread that took the place
/// of another has that one's pool, and not its runtime.
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
            let mut connection = driver.connect().await.map_err(|error| bad(&error))?;
            clock
                .measure(&mut connection)
                .await
                .map_err(|error| bad(&error))?;
            Ok(connection)
        });
        async move { connecting.await.unwrap_or_else(|error| Err(bad(&error))) }.boxed()
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
        let (shared, each) = split_connections(PoolLimits {
            connections,
            threads,
            timeout: Duration::from_secs(5),
        });
        (shared.connections, each.map(|each| each.connections))
    }

    #[test]
    fn threads_have_their_own_only_if_each_gets_three_and_three_are_left_over() {
        assert_eq!(numbers(16, 2), (4, Some(6)));
        assert_eq!(numbers(16, 4), (4, Some(3)));
        assert_eq!(numbers(9, 2), (3, Some(3)));
        assert_eq!(numbers(8, 2), (8, None));
        assert_eq!(numbers(16, 8), (16, None));
        assert_eq!(numbers(1, 1), (1, None));
        assert_eq!(numbers(10, 0), (10, None));
    }

    #[test]
    fn no_more_connections_than_allowed() {
        for connections in 1..40 {
            for threads in 0..20 {
                let (shared, each) = numbers(connections, threads);
                assert!(shared >= 1 && shared + each.unwrap_or_default() * threads == connections);
            }
        }
    }
}
