//! Slot for the current connection to one address, with a back-off after failures.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, Shared};
use redis::{RedisError, aio::MultiplexedConnection};

/// Back-off after a failure. Slightly shorter than the probe interval of 1 s, so that the next
/// probe reconnects.
const BACKOFF: Duration = Duration::from_millis(900);

/// A connection that is open or being opened. All waiters share the same attempt.
pub(super) type Connecting = Shared<BoxFuture<'static, Result<Connected, RedisError>>>;

/// A connection, and the run id of the Redis process at its end if it was queried.
#[derive(Clone)]
pub(super) struct Connected {
    pub connection: MultiplexedConnection,
    pub run_id: Option<Arc<str>>,
}

#[derive(Default)]
pub(super) struct Slot {
    connection: Option<Connecting>,
    /// Number of the connection. If several requests fail on the same connection, only the first
    /// discards it.
    number: u64,
    /// After a failure: end of the back-off, and the error to return until then.
    backing_off: Option<(Instant, String)>,
}

impl Slot {
    /// Returns the connection and its number, opened by `connect` if there is none. During the
    /// back-off, returns the last failure.
    pub(super) fn connection(
        &mut self,
        connect: impl FnOnce() -> Connecting,
    ) -> Result<(u64, Connecting), String> {
        if let Some((until, failure)) = &self.backing_off
            && Instant::now() < *until
        {
            return Err(failure.clone());
        }
        Ok((
            self.number,
            self.connection.get_or_insert_with(connect).clone(),
        ))
    }

    /// Returns the connection and its number, if there is one.
    pub(super) fn current(&self) -> Option<(u64, Connecting)> {
        Some((self.number, self.connection.clone()?))
    }

    /// Returns true if the connection with this number is the current one.
    pub(super) const fn is_current(&self, number: u64) -> bool {
        self.number == number
    }

    /// Discards the connection with this number. The next request opens another.
    pub(super) fn discard(&mut self, number: u64) {
        if self.number == number {
            self.number += 1;
            self.connection = None;
        }
    }

    /// Discards the connection with this number and starts the back-off.
    pub(super) fn back_off(&mut self, number: u64, failure: &str) {
        if self.number == number {
            self.discard(number);
            self.backing_off = Some((Instant::now() + BACKOFF, failure.to_owned()));
        }
    }
}

pub(super) fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
