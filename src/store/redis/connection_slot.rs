//! One connection after the other to the same address, and the rest after a failure.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, Shared};
use redis::{RedisError, aio::MultiplexedConnection};

/// How long nothing is sent after a failure: a little less than the second between two looks, so that the next one finds it over.
const BACKOFF: Duration = Duration::from_millis(900);

/// A connection that is there or being made: whoever needs it waits for the same one.
pub(super) type Connecting = Shared<BoxFuture<'static, Result<Connected, RedisError>>>;

/// A connection, and which process of Redis it leads to, where that has been asked.
#[derive(Clone)]
pub(super) struct Connected {
    pub connection: MultiplexedConnection,
    pub run_id: Option<Arc<str>>,
}

#[derive(Default)]
pub(super) struct Slot {
    connection: Option<Connecting>,
    /// The number of the connection: of many that wait for the same one in vain, the first hangs up.
    number: u64,
    /// After a failure: until when nothing is sent, and what to say so long.
    backing_off: Option<(Instant, String)>,
}

impl Slot {
    /// The connection and its number, made by `connect` if there is none. While the line rests, what is wrong.
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

    /// The connection, if there is one.
    pub(super) fn current(&self) -> Option<(u64, Connecting)> {
        Some((self.number, self.connection.clone()?))
    }

    /// Whether the connection of this number is still the one.
    pub(super) const fn is_current(&self, number: u64) -> bool {
        self.number == number
    }

    /// Gives up the connection of this number: the next question makes another.
    pub(super) fn discard(&mut self, number: u64) {
        if self.number == number {
            self.number += 1;
            self.connection = None;
        }
    }

    /// The same, and says for a while what is wrong.
    pub(super) fn back_off(&mut self, number: u64, failure: &str) {
        if self.number == number {
            self.discard(number);
            self.backing_off = Some((Instant::now() + BACKOFF, failure.to_owned()));
        }
    }
}

pub(super) fn lock(line: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}
