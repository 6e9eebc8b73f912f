//! Multiplexed connections to one server, with a timeout for every wait and a circuit breaker: an
//! unavailable Redis costs one timeout, then no wait during the back-off.
//!
//! Each worker thread has its own connection, so that no reply crosses threads. Background tasks
//! share one connection, and probes use it. Trust applies to the Redis process that the last probe
//! saw, identified by its run id. Therefore:
//! - A worker opens its own connection only after a probe has recorded the run id.
//! - A new worker connection queries the run id. It is discarded if the run id differs from the
//!   recorded one.
//! - A probe that sees another run id counts a failure, so no lookup sent before it is trusted.
//! - Every reconnection follows a counted failure, unless it leads to the recorded process.
//!
//! A worker without a connection uses the shared one.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use futures_util::{FutureExt as _, future::join_all};
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, Pipeline, RedisError,
    aio::MultiplexedConnection, cmd,
};
use tokio::{runtime::Handle, time::timeout};

use super::{
    connection_slot::{Connected, Connecting, Slot, lock},
    error::describe,
    info::ServerInfo,
};
use latchkey_domain::ports::StoreError;

pub(super) struct NodeConnection {
    address: String,
    client: Client,
    down: AtomicBool,
    failures: Arc<AtomicU64>,
    timeout_after: Duration,
    worker_slots: Box<[Mutex<Slot>]>,
    runtime: Option<Handle>,
    /// Run id that the last probe saw.
    expected_run_id: ArcSwapOption<String>,
    shared_slot: Mutex<Slot>,
}

/// Connection for a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Via {
    /// A new connection for this request only, even during the back-off of the standing one. A
    /// failure does not affect the standing connection.
    OneOff,
    /// The same without a check of the run id: for a server that has been left.
    OneOffUnverified,
    /// The connection shared by background tasks. Probes use it, and all other connections must
    /// lead to the process that they saw.
    Shared,
    /// The connection of the worker with this index, or the shared one if there is none.
    Worker(usize),
}

impl NodeConnection {
    /// Creates a client that connects on first use and reconnects when needed. `failures` is the
    /// failure counter, which several connections may share. `runtime` drives the shared connection
    /// and outlives the workers' runtimes.
    pub(super) fn new(
        address: String,
        client: Client,
        (timeout_after, workers): (Duration, usize),
        failures: Arc<AtomicU64>,
        runtime: Option<Handle>,
    ) -> Self {
        let (down, seen, shared) = Default::default();
        let worker_slots = (0..workers).map(|_| Mutex::default()).collect();
        Self {
            address,
            client,
            down,
            failures,
            timeout_after,
            worker_slots,
            runtime,
            expected_run_id: seen,
            shared_slot: shared,
        }
    }

    /// Address of the server, for messages.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Returns true if the last request failed.
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    /// Records the run id that a probe saw through the shared connection; all other connections
    /// must lead to this process. A change is counted as a failure after the run id is stored,
    /// so that a reader of the new count uses the new process.
    pub(super) fn expect_run_id(&self, run_id: &str) {
        let now = (!run_id.is_empty()).then_some(run_id);
        if self
            .expected_run_id
            .load()
            .as_ref()
            .map(|seen| seen.as_str())
            != now
        {
            self.expected_run_id
                .store(now.map(|run_id| Arc::new(run_id.to_owned())));
            self.failures.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Discards the shared connection with the back-off of a failure, because it leads to an
    /// unusable server. Without a connection it does nothing: frequent calls must not extend the
    /// back-off.
    pub(super) fn drop_shared(&self, reason: &str) {
        let standing = lock(&self.shared_slot).current();
        if let Some((number, _)) = standing {
            self.disconnect(&self.shared_slot, number, reason);
        }
    }

    /// Polls each worker's connection, so that none is closed as idle and a dead one is found
    /// before a request uses it. A timeout is ignored, because a busy worker thread can cause it.
    /// The probe itself detects a Redis that hangs.
    pub(super) async fn ping_worker_connections(&self) {
        let own = self.worker_slots.iter().filter_map(|slot| {
            let (number, connecting) = lock(slot).current()?;
            Some(async move {
                match timeout(self.timeout_after, identified(connecting)).await {
                    Ok(Ok(connected)) if self.is_wrong_server(&connected) => {
                        lock(slot).discard(number);
                    }
                    Ok(Err(error)) => self.disconnect(slot, number, &describe(&error)),
                    Ok(Ok(_)) | Err(_) => {}
                }
            })
        });
        join_all(own.collect::<Vec<_>>()).await;
    }

    /// Sends one command.
    pub(super) async fn query<T: FromRedisValue>(
        &self,
        via: Via,
        command: &Cmd,
    ) -> Result<T, StoreError> {
        self.query_via(via, async |mut connection| {
            command.query_async(&mut connection).await
        })
        .await
    }

    /// Sends commands in one round trip. An error of one command is returned for all.
    pub(super) async fn query_pipeline<T: FromRedisValue>(
        &self,
        via: Via,
        commands: &Pipeline,
    ) -> Result<T, StoreError> {
        self.query_via(via, async |mut connection| {
            commands.query_async(&mut connection).await
        })
        .await
    }

    /// Sends a request over the chosen connection. Rare paths are boxed: a future has room for
    /// all of its paths, and allocations above one kilobyte cost ten times as much.
    async fn query_via<T>(
        &self,
        via: Via,
        send: impl AsyncFnOnce(MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, StoreError> {
        match via {
            Via::Worker(index) => {
                let Some(slot) = self.worker_slots.get(index) else {
                    return Box::pin(self.query_shared(send)).await;
                };
                match self.worker_connection(slot).await {
                    Some((number, connection)) => {
                        self.query_slot(slot, number, send(connection)).await
                    }
                    None => Box::pin(self.query_shared(send)).await,
                }
            }
            Via::Shared => Box::pin(self.query_shared(send)).await,
            Via::OneOff | Via::OneOffUnverified => {
                let known = matches!(via, Via::OneOff);
                let reply = async {
                    let connected = self
                        .connect(if known { Owner::OneOff } else { Owner::Shared })
                        .await?;
                    if known && self.is_wrong_server(&connected) {
                        return Err(io::Error::other(
                            "it is not the server that the last probe saw",
                        )
                        .into());
                    }
                    send(connected.connection).await
                };
                Box::pin(self.with_timeout(reply))
                    .await
                    .map_err(StoreError::Unavailable)
            }
        }
    }

    async fn query_shared<T>(
        &self,
        send: impl AsyncFnOnce(MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, StoreError> {
        let (number, connecting) = self
            .connecting(&self.shared_slot, Owner::Shared)
            .map_err(StoreError::Unavailable)?;
        let reply = async { send(connecting.await?.connection).await };
        let reply = self.query_slot(&self.shared_slot, number, reply).await?;
        self.down.store(false, Ordering::Release);
        Ok(reply)
    }

    /// Awaits a reply until the timeout. After a failure, discards the connection and starts the
    /// back-off, because the peer may be dead.
    async fn query_slot<T>(
        &self,
        slot: &Mutex<Slot>,
        number: u64,
        reply: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, StoreError> {
        let reply = self.with_timeout(reply).await;
        reply.map_err(|failure| {
            self.disconnect(slot, number, &failure);
            StoreError::Unavailable(failure)
        })
    }

    /// Returns the worker's own connection to the process that the last probe saw. `None` if there
    /// is none at present; the request then uses the shared connection, and no failure is counted.
    async fn worker_connection(&self, slot: &Mutex<Slot>) -> Option<(u64, MultiplexedConnection)> {
        // Two attempts: a connection opened before the probe that saw another process is stale, not
        // failed.
        for first in [true, false] {
            self.expected_run_id.load().as_ref()?;
            let (number, connecting) = self.connecting(slot, Owner::Own).ok()?;
            // Usually the connection is open, and nothing is awaited.
            let open = connecting
                .peek()
                .and_then(|connected| connected.as_ref().ok().cloned());
            let connected = match open {
                Some(connected) => Ok(connected),
                None => Box::pin(self.with_timeout(connecting)).await,
            };
            match connected {
                Ok(connected) if !self.is_wrong_server(&connected) => {
                    return Some((number, connected.connection));
                }
                Ok(_) if first => lock(slot).discard(number),
                Ok(connected) => {
                    lock(slot).back_off(number, "the address now leads to another server");
                    self.invalidate_shared(&connected);
                }
                Err(failure) => {
                    lock(slot).back_off(number, &failure);
                    return None;
                }
            }
        }
        None
    }

    /// Handles an address that now leads to another server. Discards the shared connection if it is
    /// older, so that the next probe sees the new server.
    fn invalidate_shared(&self, newer: &Connected) {
        let standing = lock(&self.shared_slot).current();
        if let Some((number, connecting)) = standing
            && let Some(Ok(shared)) = connecting.peek()
            && shared.run_id != newer.run_id
        {
            self.disconnect(
                &self.shared_slot,
                number,
                "the address now leads to another server",
            );
        }
    }

    async fn with_timeout<T>(
        &self,
        reply: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, String> {
        let failure = match timeout(self.timeout_after, reply).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => describe(&error),
            Err(_) => "timed out".to_owned(),
        };
        Err(format!("Redis at {}: {failure}", self.address))
    }

    fn is_wrong_server(&self, connected: &Connected) -> bool {
        match (&connected.run_id, &*self.expected_run_id.load()) {
            (Some(leads_to), Some(seen)) => **leads_to != ***seen,
            _ => false,
        }
    }

    fn connecting(&self, slot: &Mutex<Slot>, owner: Owner) -> Result<(u64, Connecting), String> {
        lock(slot).connection(|| self.connect(owner))
    }

    fn connect(&self, owner: Owner) -> Connecting {
        let (client, timeout_after) = (self.client.clone(), self.timeout_after);
        let connect = async move {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(timeout_after))
                .set_response_timeout(None);
            let connection = client
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            match owner {
                // Best effort: nothing depends on the run id here.
                Owner::Shared => Ok(identify(connection.clone()).await.unwrap_or(Connected {
                    connection,
                    run_id: None,
                })),
                Owner::Own | Owner::OneOff => identify(connection).await,
            }
        };
        // Limits the spawned task itself, so that no waiter hangs.
        let connect = async move {
            timeout(timeout_after, connect)
                .await
                .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
        };
        let runtime = if matches!(owner, Owner::Own) {
            Handle::try_current().ok()
        } else {
            self.runtime.clone()
        };
        let Some(runtime) = runtime else {
            return connect.boxed().shared();
        };
        let task = runtime.spawn(connect);
        async move {
            task.await
                .unwrap_or_else(|error| Err(io::Error::other(error).into()))
        }
        .boxed()
        .shared()
    }

    /// Discards a connection after a failure. The failure is counted before another connection can
    /// be opened, so any reply on the next connection finds it counted.
    fn disconnect(&self, slot: &Mutex<Slot>, number: u64, failure: &str) {
        let mut slot = lock(slot);
        if slot.is_current(number) {
            self.failures.fetch_add(1, Ordering::AcqRel);
            self.down.store(true, Ordering::Release);
            slot.back_off(number, failure);
        }
    }
}

/// Owner of a connection.
#[derive(Clone, Copy, Debug)]
enum Owner {
    /// A single request.
    OneOff,
    /// A worker thread, whose own runtime drives the connection.
    Own,
    /// The background tasks.
    Shared,
}

/// Returns the connection with the run id of the process at its end.
async fn identify(mut connection: MultiplexedConnection) -> Result<Connected, RedisError> {
    let info: String = cmd("INFO")
        .arg("server")
        .query_async(&mut connection)
        .await?;
    Ok(Connected {
        connection,
        run_id: Some(ServerInfo::parse(&info).run_id.into()),
    })
}

async fn identified(connecting: Connecting) -> Result<Connected, RedisError> {
    identify(connecting.await?.connection).await
}
