//! A clock that only the test advances.

use std::sync::atomic::{AtomicI64, Ordering};

use latchkey_domain::{ports::Clock, time::Moment};

/// Clock that starts in January 2027, a quarter past a full second, and moves only by
/// [`Self::advance_ms`].
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl Default for ManualClock {
    fn default() -> Self {
        Self(AtomicI64::new(1_800_000_000_250_000))
    }
}

impl ManualClock {
    /// Returns a separate clock that is this far ahead of this one.
    pub fn ahead(&self, milliseconds: i64) -> Self {
        Self(AtomicI64::new(
            self.0.load(Ordering::SeqCst) + milliseconds * 1000,
        ))
    }

    /// Advances the clock.
    pub fn advance_ms(&self, milliseconds: i64) {
        self.0.fetch_add(milliseconds * 1000, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        Moment::from_timestamp_micros(self.0.load(Ordering::SeqCst)).unwrap()
    }
}
