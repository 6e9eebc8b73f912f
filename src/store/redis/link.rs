//! Multiplexed connections to one server, with a limit on every wait and a breaker: a Redis that is gone costs one
//! time limit, then nothing for a while. It never connects again without a failure having been counted before.
//!
//! The threads of the web server have a connection each, so that nothing is handed from thread to thread; whatever runs
//! in the background shares one. What is believed of Redis is believed of the process that the last look in the background
//! saw, so a thread's own connection has to lead to that process, and is given up when it does not.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, aio::MultiplexedConnection,
    cmd,
};
use thread_local::ThreadLocal;
use tokio::runtime::Handle;

use super::server::Server;
use crate::{ports::StoreError, store::thread};

/// How long nothing is sent after a failure.
const REST: Duration = Duration::from_secs(1);

/// A connection that is there or being made: whoever needs it waits for the same one.
type Connecting = Shared<BoxFuture<'static, Result<Connected, RedisError>>>;

/// A connection, and which process of Redis it leads to, where that has been asked.
#[derive(Clone)]
struct Connected {
    connection: MultiplexedConnection,
    leads_to: Option<Arc<str>>,
}

pub(super) struct Link {
    address: String,
    client: Client,
    down: AtomicBool,
    failures: Arc<AtomicU64>,
    own: ThreadLocal<Mutex<Line>>,
    runtime: Option<Handle>,
    /// The process that the last look saw.
    seen: ArcSwapOption<String>,
    shared: Mutex<Line>,
    timeout: Duration,
}

/// How a server is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// By a connection for this once, whether or not the standing one rests. Its failure says nothing of that one.
    Aside,
    /// By the connection that the background shares. Whoever looks at a server goes this way: the others have to lead where
    /// the look led.
    Shared,
    /// By the thread's own connection, or where a thread has none by the shared one.
    Standing,
}

#[derive(Default)]
struct Line {
    connection: Option<Connecting>,
    /// The number of the connection: of many that wait for the same one in vain, the first hangs up.
    number: u64,
    /// After a failure: until when nothing is sent, and what to say so long.
    resting: Option<(Instant, String)>,
}

impl Link {
    /// Connects at the first use, and again whenever it has to. `failures` counts, and may be shared by links.
    pub(super) fn new(address: String, client: Client, timeout: Duration, failures: Arc<AtomicU64>) -> Self {
        // The runtime that opens the store outlives those of the workers that use it.
        let runtime = Handle::try_current().ok();
        let (down, own, seen, shared) = Default::default();
        Self { address, client, down, failures, own, runtime, seen, shared, timeout }
    }

    /// Where it leads, for people.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Whether what was sent last failed.
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    /// What a look saw: all connections have to lead to this process.
    pub(super) fn note_seen(&self, run_id: &str) {
        if self.seen.load().as_ref().is_none_or(|seen| seen.as_str() != run_id) {
            self.seen.store(Some(Arc::new(run_id.to_owned())));
        }
    }

    /// Sends one command.
    pub(super) async fn ask<T: FromRedisValue>(&self, way: Way, command: &Cmd) -> Result<T, StoreError> {
        self.ask_by(way, async |mut connection| command.query_async(&mut connection).await).await
    }

    /// Sends commands in one round trip. An error of one is an error of all.
    pub(super) async fn ask_all<T: FromRedisValue>(&self, way: Way, commands: &Pipeline) -> Result<T, StoreError> {
        self.ask_by(way, async |mut connection| commands.query_async(&mut connection).await).await
    }

    async fn ask_by<T>(
        &self,
        way: Way,
        ask: impl AsyncFnOnce(MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, StoreError> {
        match way {
            Way::Standing if thread::has_own_runtime() => self.limited(self.own.get_or_default(), true, ask).await,
            Way::Shared | Way::Standing => self.limited(&self.shared, false, ask).await,
            Way::Aside => {
                let connecting = self.connect(false);
                let answer = async { ask(connecting.await?.connection).await };
                let failure = match tokio::time::timeout(self.timeout, answer).await {
                    Ok(Ok(value)) => return Ok(value),
                    Ok(Err(error)) => explained(&error),
                    Err(_) => "no answer in time".to_owned(),
                };
                Err(StoreError::Unavailable(format!("Redis at {}: {failure}", self.address)))
            }
        }
    }

    /// Waits for an answer, no longer than the limit. After a failure, the connection is given up, and the link rests:
    /// behind a connection that does not answer there may be nobody any more.
    async fn limited<T>(
        &self,
        line: &Mutex<Line>,
        own: bool,
        ask: impl AsyncFnOnce(MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, StoreError> {
        let (mut number, connecting) = self.connecting(line, own)?;
        let answer = async {
            let mut connected = connecting.await?;
            if self.strays(&connected) {
                leave(line, number);
                let (next, connecting) = self.connecting(line, own).map_err(std::io::Error::other)?;
                number = next;
                connected = connecting.await?;
                if self.strays(&connected) {
                    return Err(std::io::Error::other("it is not the server that was looked at last").into());
                }
            }
            ask(connected.connection).await
        };
        let failure = match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(value)) => {
                self.down.store(false, Ordering::Release);
                return Ok(value);
            }
            Ok(Err(error)) => explained(&error),
            Err(_) => "no answer in time".to_owned(),
        };
        let failure = format!("Redis at {}: {failure}", self.address);
        self.hang_up(line, number, &failure);
        Err(StoreError::Unavailable(failure))
    }

    fn strays(&self, connected: &Connected) -> bool {
        match (&connected.leads_to, &*self.seen.load()) {
            (Some(leads_to), Some(seen)) => **leads_to != ***seen,
            _ => false,
        }
    }

    fn connecting(&self, line: &Mutex<Line>, own: bool) -> Result<(u64, Connecting), StoreError> {
        let mut line = lock(line);
        if let Some((until, failure)) = &line.resting
            && Instant::now() < *until
        {
            return Err(StoreError::Unavailable(failure.clone()));
        }
        let number = line.number;
        Ok((number, line.connection.get_or_insert_with(|| self.connect(own)).clone()))
    }

    fn connect(&self, own: bool) -> Connecting {
        let (client, timeout) = (self.client.clone(), self.timeout);
        let connect = async move {
            // Whoever asks limits the whole of it, waiting for the answer included: one timer for a question is enough.
            let config = AsyncConnectionConfig::new().set_connection_timeout(Some(timeout)).set_response_timeout(None);
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            if !own {
                return Ok(Connected { connection, leads_to: None });
            }
            let info: String = cmd("INFO").arg("server").query_async(&mut connection).await?;
            Ok(Connected { connection, leads_to: Some(Server::parse(&info).run_id.into()) })
        };
        let runtime = if own { Handle::try_current().ok() } else { self.runtime.clone() };
        let Some(runtime) = runtime else { return connect.boxed().shared() };
        let task = runtime.spawn(connect);
        async move { task.await.unwrap_or_else(|error| Err(std::io::Error::other(error).into())) }.boxed().shared()
    }

    /// Counted before the connection can be another: whoever hears from the next one finds the failure counted.
    fn hang_up(&self, line: &Mutex<Line>, number: u64, failure: &str) {
        let mut line = lock(line);
        if line.number == number {
            self.failures.fetch_add(1, Ordering::AcqRel);
            self.down.store(true, Ordering::Release);
            line.number += 1;
            line.connection = None;
            line.resting = Some((Instant::now() + REST, failure.to_owned()));
        }
    }
}

/// Gives up a connection without a failure: it leads to a server that was looked at before, and the look since then has
/// told what to believe.
fn leave(line: &Mutex<Line>, number: u64) {
    let mut line = lock(line);
    if line.number == number {
        line.number += 1;
        line.connection = None;
    }
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What went wrong and, where a setting is at fault, which. Of commands that were sent together, the first that failed.
fn explained(error: &RedisError) -> String {
    let text = match error.clone().into_server_errors().as_deref() {
        Some([(_, first), ..]) => format!("{} {}", first.code(), first.details().unwrap_or_default()),
        _ => error.to_string(),
    };
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if error.kind() == ErrorKind::AuthenticationFailed || says(&["NOAUTH", "WRONGPASS"]) {
        format!("it refuses the user or the password ({text})")
    } else if says(&["NOPERM", "can't run this command", "No permissions to"]) {
        format!("its user may not do what is needed, see docs/redis.md ({text})")
    } else {
        text
    }
}
