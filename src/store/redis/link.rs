//! One multiplexed connection to one server, with a limit on every wait and a breaker: a Redis that is gone costs one
//! time limit, then nothing for a while. It never connects again without a failure having been counted before.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, aio::MultiplexedConnection,
};
use tokio::runtime::Handle;

use crate::ports::StoreError;

/// How long nothing is sent after a failure.
const REST: Duration = Duration::from_secs(1);

/// A connection that is there or being made: whoever needs it waits for the same one.
type Connecting = Shared<BoxFuture<'static, Result<MultiplexedConnection, RedisError>>>;

pub(super) struct Link {
    address: String,
    client: Client,
    down: AtomicBool,
    failures: Arc<AtomicU64>,
    line: Mutex<Line>,
    runtime: Option<Handle>,
    timeout: Duration,
}

/// How a server is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// By a connection for this once, whether or not the shared one rests. Its failure says nothing of that one.
    Aside,
    /// By the connection that all share.
    Shared,
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
        let (down, line) = (AtomicBool::new(false), Mutex::default());
        // The runtime that opens the store outlives those of the workers that use it.
        Self { address, client, down, failures, line, runtime: Handle::try_current().ok(), timeout }
    }

    /// Where it leads, for people.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Whether what was sent last failed.
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    /// Sends one command.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.limited(async |mut connection| command.query_async(&mut connection).await).await
    }

    /// Sends commands in one round trip. An error of one is an error of all.
    pub(super) async fn ask_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, StoreError> {
        self.ask_all_by(Way::Shared, commands).await
    }

    /// The same, by a way of the caller's choice.
    pub(super) async fn ask_all_by<T: FromRedisValue>(&self, way: Way, commands: &Pipeline) -> Result<T, StoreError> {
        match way {
            Way::Shared => self.limited(async |mut connection| commands.query_async(&mut connection).await).await,
            Way::Aside => {
                let connecting = self.connect();
                let answer = async { commands.query_async(&mut connecting.await?).await };
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
        ask: impl AsyncFnOnce(MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, StoreError> {
        let (number, connecting) = self.connecting()?;
        let answer = async { ask(connecting.await?).await };
        let failure = match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(value)) => {
                self.down.store(false, Ordering::Release);
                return Ok(value);
            }
            Ok(Err(error)) => explained(&error),
            Err(_) => "no answer in time".to_owned(),
        };
        let failure = format!("Redis at {}: {failure}", self.address);
        self.hang_up(number, &failure);
        Err(StoreError::Unavailable(failure))
    }

    fn connecting(&self) -> Result<(u64, Connecting), StoreError> {
        let mut line = self.line();
        if let Some((until, failure)) = &line.resting
            && Instant::now() < *until
        {
            return Err(StoreError::Unavailable(failure.clone()));
        }
        let number = line.number;
        Ok((number, line.connection.get_or_insert_with(|| self.connect()).clone()))
    }

    fn connect(&self) -> Connecting {
        let (client, timeout) = (self.client.clone(), self.timeout);
        let connect = async move {
            // Whoever asks limits the whole of it, waiting for the answer included: one timer for a question is enough.
            let config = AsyncConnectionConfig::new().set_connection_timeout(Some(timeout)).set_response_timeout(None);
            client.get_multiplexed_async_connection_with_config(&config).await
        };
        let Some(runtime) = &self.runtime else { return connect.boxed().shared() };
        let task = runtime.spawn(connect);
        async move { task.await.unwrap_or_else(|error| Err(std::io::Error::other(error).into())) }.boxed().shared()
    }

    /// Counted before the connection can be another: whoever hears from the next one finds the failure counted.
    fn hang_up(&self, number: u64, failure: &str) {
        let mut line = self.line();
        if line.number == number {
            self.failures.fetch_add(1, Ordering::AcqRel);
            self.down.store(true, Ordering::Release);
            line.number += 1;
            line.connection = None;
            line.resting = Some((Instant::now() + REST, failure.to_owned()));
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
