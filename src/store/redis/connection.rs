//! One multiplexed connection, with a limit on every wait and a breaker: a Redis that is gone costs one time limit,
//! then nothing for a while.

use std::{
    fmt,
    str::FromStr,
    sync::Mutex,
    time::{Duration, Instant},
};

use redis::{
    Client, Cmd, FromRedisValue, IntoConnectionInfo as _, RedisError, RedisFuture,
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
    manager: ConnectionManager,
    resting_until: Mutex<Option<Instant>>,
    timeout: Duration,
}

impl Connection {
    /// Connects at the first use, and again whenever it has to.
    pub(super) fn open(options: &RedisOptions) -> Result<Self, StoreError> {
        let client = Client::open(options.url.url.expose_secret()).map_err(|error| failed(&error))?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(options.timeout))
            .set_response_timeout(Some(options.timeout))
            .set_number_of_retries(0);
        let manager = ConnectionManager::new_lazy_with_config(client, config).map_err(|error| failed(&error))?;
        Ok(Self { manager, resting_until: Mutex::new(None), timeout: options.timeout })
    }

    /// The connection, unless it is resting after a failure.
    pub(super) fn manager(&self) -> Result<ConnectionManager, StoreError> {
        match *self.resting() {
            Some(until) if Instant::now() < until => {
                Err(StoreError::Unavailable("Redis failed a moment ago".to_owned()))
            }
            _ => Ok(self.manager.clone()),
        }
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
        *self.resting() = Some(Instant::now() + REST);
        Err(outcome)
    }

    fn resting(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.resting_until.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn failed(error: &RedisError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}
