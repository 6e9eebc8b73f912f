//! Multiplexed connections to one server, with a limit on every wait and a breaker: a Redis that is gone costs one
//! time limit, then nothing for a while.
//!
//! The threads of the web server have a connection each, so that nothing is handed from thread to thread; whatever runs
//! in the background shares one, and looks at the server through it. What is believed of Redis is believed of the process that
//! the last look saw. So
//! - a thread has a connection of its own only once a look has told which process there is;
//! - its connection asks which process it leads to when it is made, and nothing is sent to another than the one that was seen;
//! - when a look sees another process, that counts as a failure: no answer that was asked for before is believed after;
//! - no connection is made again without a failure having been counted, unless it is to that one process.
//!
//! While a thread can have no connection of its own, it uses the one of the background.

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
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError,
    aio::MultiplexedConnection, cmd,
};
use thread_local::ThreadLocal;
use tokio::{runtime::Handle, time::timeout};

use super::{
    connection_slot::{Connected, Connecting, Slot, lock},
    info::ServerInfo,
};
use crate::{ports::StoreError, store::thread};

pub(super) struct NodeConnection {
    address: String,
    client: Client,
    down: AtomicBool,
    failures: Arc<AtomicU64>,
    timeout_after: Duration,
    worker_slots: ThreadLocal<Mutex<Slot>>,
    runtime: Option<Handle>,
    /// The process that the last look saw.
    expected_run_id: ArcSwapOption<String>,
    shared_slot: Mutex<Slot>,
}

/// How a server is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Via {
    /// By a connection for this once, whether or not the standing one rests. Its failure says nothing of that one.
    OneOff,
    /// By a connection for this once, and whoever is at its end: of a server that is left.
    OneOffUnverified,
    /// By the connection that the background shares. Whoever looks at a server goes this way: the others have to lead where
    /// the look led.
    Shared,
    /// By the thread's own connection, or where a thread has none by the shared one.
    Worker,
}

impl NodeConnection {
    /// Connects at the first use, and again whenever it has to. `failures` counts, and may be shared by links; `runtime`
    /// drives the shared connection, and outlives those of the threads that have their own.
    pub(super) fn new(
        address: String,
        client: Client,
        limit: Duration,
        failures: Arc<AtomicU64>,
        runtime: Option<Handle>,
    ) -> Self {
        let (down, own, seen, shared) = Default::default();
        Self {
            address,
            client,
            down,
            failures,
            timeout_after: limit,
            worker_slots: own,
            runtime,
            expected_run_id: seen,
            shared_slot: shared,
        }
    }

    /// Where it leads, for people.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Whether what was sent last failed.
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    /// What a look saw through the shared connection: all others have to lead to this process. Counted as a failure when it
    /// is another than before, and after it is known: who reads the new count goes to the new process.
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

    /// Gives up the shared connection, as after a failure: it leads to a server that is no use, and the next one may not. Where
    /// there is none, it rests no longer than it does: whoever asks often must not keep it from being made.
    pub(super) fn drop_shared(&self, reason: &str) {
        let standing = lock(&self.shared_slot).current();
        if let Some((number, _)) = standing {
            self.disconnect(&self.shared_slot, number, reason);
        }
    }

    /// Asks by each thread's own connection for a sign of life: none is closed because it is idle, and a dead one is not
    /// left for a request to find. One that is slow may only have a busy thread: a Redis that hangs is found by whoever looks.
    pub(super) async fn ping_worker_connections(&self) {
        let own = self.worker_slots.iter().filter_map(|line| {
            let (number, connecting) = lock(line).current()?;
            Some(async move {
                match timeout(self.timeout_after, identified(connecting)).await {
                    Ok(Ok(connected)) if self.is_wrong_server(&connected) => {
                        lock(line).discard(number)
                    }
                    Ok(Err(error)) => self.disconnect(line, number, &describe(&error)),
                    Ok(Ok(_)) | Err(_) => {}
                }
            })
        });
        join_all(own.collect::<Vec<_>>()).await;
    }

    /// Sends one command.
    pub(super) async fn query<T: FromRedisValue>(
        &self,
        way: Via,
        command: &Cmd,
    ) -> Result<T, StoreError> {
        self.query_via(way, async |mut connection| {
            command.query_async(&mut connection).await
        })
        .await
    }

    /// Sends commands in one round trip. An error of one is an error of all.
    pub(super) async fn query_pipeline<T: FromRedisValue>(
        &self,
        way: Via,
        commands: &Pipeline,
    ) -> Result<T, StoreError> {
        self.query_via(way, async |mut connection| {
            commands.query_async(&mut connection).await
        })
        .await
    }

    /// Ways that few go are boxed: a future has room for all of them, and what is larger than a kilobyte costs the allocator
    /// ten times as much.
    async fn query_via<T>(
        &self,
        way: Via,
        ask: impl AsyncFnOnce(MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, StoreError> {
        match way {
            Via::Worker if thread::has_own_runtime() => {
                let line = self.worker_slots.get_or_default();
                match self.worker_connection(line).await {
                    Some((number, connection)) => {
                        self.query_slot(line, number, ask(connection)).await
                    }
                    None => Box::pin(self.query_shared(ask)).await,
                }
            }
            Via::Shared | Via::Worker => Box::pin(self.query_shared(ask)).await,
            Via::OneOff | Via::OneOffUnverified => {
                let known = matches!(way, Via::OneOff);
                let answer = async {
                    let connected = self
                        .connect(if known { Owner::OneOff } else { Owner::Shared })
                        .await?;
                    if known && self.is_wrong_server(&connected) {
                        return Err(io::Error::other(
                            "it is not the server that was looked at last",
                        )
                        .into());
                    }
                    ask(connected.connection).await
                };
                Box::pin(self.with_timeout(answer))
                    .await
                    .map_err(StoreError::Unavailable)
            }
        }
    }

    async fn query_shared<T>(
        &self,
        ask: impl AsyncFnOnce(MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, StoreError> {
        let (number, connecting) = self
            .connecting(&self.shared_slot, Owner::Shared)
            .map_err(StoreError::Unavailable)?;
        let answer = async { ask(connecting.await?.connection).await };
        let answer = self.query_slot(&self.shared_slot, number, answer).await?;
        self.down.store(false, Ordering::Release);
        Ok(answer)
    }

    /// Waits for an answer, no longer than the limit. After a failure, the connection is given up, and the line rests:
    /// behind a connection that does not answer there may be nobody any more.
    async fn query_slot<T>(
        &self,
        line: &Mutex<Slot>,
        number: u64,
        answer: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, StoreError> {
        let answer = self.with_timeout(answer).await;
        answer.map_err(|failure| {
            self.disconnect(line, number, &failure);
            StoreError::Unavailable(failure)
        })
    }

    /// The thread's own connection, to the process that the last look saw. Without one, and while there is none to be had,
    /// the shared connection serves: nothing was asked, so nothing has failed.
    async fn worker_connection(&self, line: &Mutex<Slot>) -> Option<(u64, MultiplexedConnection)> {
        // Twice: one that was made before the look that saw another process is no fault of the next.
        for first in [true, false] {
            self.expected_run_id.load().as_ref()?;
            let (number, connecting) = self.connecting(line, Owner::Own).ok()?;
            // Nearly always it is there, and nothing has to be waited for.
            let there = connecting
                .peek()
                .and_then(|connected| connected.as_ref().ok().cloned());
            let connected = match there {
                Some(connected) => Ok(connected),
                None => Box::pin(self.with_timeout(connecting)).await,
            };
            match connected {
                Ok(connected) if !self.is_wrong_server(&connected) => {
                    return Some((number, connected.connection));
                }
                Ok(_) if first => lock(line).discard(number),
                Ok(connected) => {
                    lock(line).back_off(number, "the address leads to another server now");
                    self.invalidate_shared(&connected);
                }
                Err(failure) => {
                    lock(line).back_off(number, &failure);
                    return None;
                }
            }
        }
        None
    }

    /// The address leads elsewhere than it did: unless the shared connection was made since then, too, it is given up, so
    /// that the next look sees where.
    fn invalidate_shared(&self, newer: &Connected) {
        let standing = lock(&self.shared_slot).current();
        if let Some((number, connecting)) = standing
            && let Some(Ok(shared)) = connecting.peek()
            && shared.run_id != newer.run_id
        {
            self.disconnect(
                &self.shared_slot,
                number,
                "the address leads to another server now",
            );
        }
    }

    async fn with_timeout<T>(
        &self,
        answer: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, String> {
        let failure = match timeout(self.timeout_after, answer).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => describe(&error),
            Err(_) => "no answer in time".to_owned(),
        };
        Err(format!("Redis at {}: {failure}", self.address))
    }

    fn is_wrong_server(&self, connected: &Connected) -> bool {
        match (&connected.run_id, &*self.expected_run_id.load()) {
            (Some(leads_to), Some(seen)) => **leads_to != ***seen,
            _ => false,
        }
    }

    fn connecting(&self, line: &Mutex<Slot>, whose: Owner) -> Result<(u64, Connecting), String> {
        lock(line).connection(|| self.connect(whose))
    }

    fn connect(&self, whose: Owner) -> Connecting {
        let (client, limit) = (self.client.clone(), self.timeout_after);
        let connect = async move {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(limit))
                .set_response_timeout(None);
            let connection = client
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            match whose {
                // Told where that may be asked: nothing depends on it.
                Owner::Shared => Ok(identify(connection.clone()).await.unwrap_or(Connected {
                    connection,
                    run_id: None,
                })),
                Owner::Own | Owner::OneOff => identify(connection).await,
            }
        };
        // Limited here, too: nobody may be left to wait for it.
        let connect = async move {
            timeout(limit, connect)
                .await
                .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
        };
        let runtime = if matches!(whose, Owner::Own) {
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

    /// Counted before the connection can be another: whoever hears from the next one finds the failure counted.
    fn disconnect(&self, line: &Mutex<Slot>, number: u64, failure: &str) {
        let mut line = lock(line);
        if line.is_current(number) {
            self.failures.fetch_add(1, Ordering::AcqRel);
            self.down.store(true, Ordering::Release);
            line.back_off(number, failure);
        }
    }
}

/// Whose a connection is.
#[derive(Clone, Copy, Debug)]
enum Owner {
    /// Nobody's for long.
    OneOff,
    /// A thread's that has a runtime of its own, which drives it.
    Own,
    /// That of the background.
    Shared,
}

/// The connection, and which process it leads to.
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

/// What went wrong and, where a setting is at fault, which. Of commands that were sent together, the first that failed.
fn describe(error: &RedisError) -> String {
    let text = match error.clone().into_server_errors().as_deref() {
        Some([(_, first), ..]) => {
            format!("{} {}", first.code(), first.details().unwrap_or_default())
        }
        _ => error.to_string(),
    };
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if error.kind() == ErrorKind::AuthenticationFailed || says(&["NOAUTH", "WRONGPASS"]) {
        format!("it refuses the user or the password ({text})")
    } else if says(&["NOPERM", "can't run this command", "No permissions to"]) {
        format!("its user may not do what is needed, see docs/guides/redis.md ({text})")
    } else {
        text
    }
}
