//! One multiplexed connection, with a limit on every wait and a breaker: a Redis that is gone costs one time limit,
//! then nothing for a while.

use std::{
    fmt,
    str::FromStr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{
    Client, Cmd, FromRedisValue, IntoConnectionInfo as _, ProtocolVersion, RedisError, RedisFuture,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::ports::StoreError;

/// How long nothing is sent after a failure.
const REST: Duration = Duration::from_secs(1);

/// A Redis server. `Display` hides the password.
#[derive(Clone, Debug)]
pub struct RedisUrl {
    url: SecretString,
    shown: String,
}

/// The text is not the URL of a Redis server.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected redis://HOST:PORT/DATABASE, rediss://… for TLS, or unix://PATH")]
pub struct RedisUrlError;

/// How Redis is used.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// Where it is.
    pub url: RedisUrl,
    /// What all keys begin with.
    pub prefix: String,
    /// For connecting and for an answer, each.
    pub timeout: Duration,
}

impl FromStr for RedisUrl {
    type Err = RedisUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.into_connection_info().map_err(|_| RedisUrlError)?;
        let mut shown = Url::parse(text).map_err(|_| RedisUrlError)?;
        if shown.password().is_some() {
            let _ = shown.set_password(Some("***"));
        }
        // The form for sockets: unix:///run/redis.sock?pass=…
        if shown.query_pairs().any(|(name, _)| name == "pass") {
            let pairs: Vec<_> = shown.query_pairs().into_owned().collect();
            let hidden = pairs.iter().map(|(name, value)| (name, if name == "pass" { "***" } else { value }));
            shown.query_pairs_mut().clear().extend_pairs(hidden);
        }
        Ok(Self { url: text.to_owned().into(), shown: shown.into() })
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

pub(super) struct Connection {
    client: Client,
    failures: AtomicU64,
    line: Mutex<Line>,
    timeout: Duration,
}

struct Line {
    manager: ConnectionManager,
    resting_until: Option<Instant>,
}

impl Connection {
    /// Connects at the first use, and again whenever it has to.
    pub(super) fn open(options: &RedisOptions) -> Result<Self, StoreError> {
        let info = options.url.url.expose_secret().into_connection_info().map_err(|error| failed(&error))?;
        // With RESP3 the manager connects again without a word, and a lost connection must not go unnoticed.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
        let client = Client::open(info.set_redis_settings(settings)).map_err(|error| failed(&error))?;
        let manager = manager(&client, options.timeout).map_err(|error| failed(&error))?;
        let line = Mutex::new(Line { manager, resting_until: None });
        Ok(Self { client, failures: AtomicU64::new(0), line, timeout: options.timeout })
    }

    /// How often it failed. As long as this stays the same, the server behind it is the same, too.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Acquire)
    }

    /// The connection, unless it is resting after a failure.
    pub(super) fn manager(&self) -> Result<ConnectionManager, StoreError> {
        let line = self.line();
        if line.rests() {
            return Err(StoreError::Unavailable("Redis failed a moment ago".to_owned()));
        }
        Ok(line.manager.clone())
    }

    /// A connection of its own, whether or not the shared one is resting.
    pub(super) fn aside(&self) -> Result<ConnectionManager, StoreError> {
        manager(&self.client, self.timeout).map_err(|error| failed(&error))
    }

    /// Waits for an answer on such a connection, no longer than the limit. Its failure says nothing of the shared one.
    pub(super) async fn limited_aside<T>(
        &self,
        answer: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, StoreError> {
        tokio::time::timeout(self.timeout, answer)
            .await
            .map_err(|_| StoreError::Unavailable("Redis did not answer in time".to_owned()))?
            .map_err(|error| failed(&error))
    }

    /// Sends one command.
    pub(super) async fn send<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        let mut manager = self.manager()?;
        let answer: RedisFuture<'_, _> = Box::pin(async move {
            use redis::aio::ConnectionLike as _;
            manager.req_packed_command(command).await
        });
        let value = self.limited(answer).await?;
        redis::from_redis_value(value).map_err(|error| StoreError::Failed(error.to_string()))
    }

    /// Waits for an answer, no longer than the limit. After a failure, the connection rests.
    pub(super) async fn limited<T>(
        &self,
        answer: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, StoreError> {
        // The manager has limits of its own for connecting and for answering; this one is for both together.
        let outcome = match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => failed(&error),
            Err(_) => StoreError::Unavailable("Redis did not answer in time".to_owned()),
        };
        self.hang_up();
        Err(outcome)
    }

    /// The manager keeps a connection that does not answer, and behind it there may be nobody any more. So the next
    /// command makes a new one. Of many that wait for the same answer, the first hangs up.
    fn hang_up(&self) {
        self.failures.fetch_add(1, Ordering::AcqRel);
        let mut line = self.line();
        if !line.rests()
            && let Ok(manager) = manager(&self.client, self.timeout)
        {
            line.manager = manager;
        }
        line.resting_until = Some(Instant::now() + REST);
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn rests(&self) -> bool {
        self.resting_until.is_some_and(|until| Instant::now() < until)
    }
}

fn manager(client: &Client, timeout: Duration) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(Some(timeout))
        .set_number_of_retries(0);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

fn failed(error: &RedisError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}
