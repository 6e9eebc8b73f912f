//! Rate limit for log lines that clients can cause: at most one a second of each kind, with the
//! number of suppressed lines.

use std::{
    collections::HashMap,
    sync::{
        LazyLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Interval between two lines of a kind.
const INTERVAL: Duration = Duration::from_secs(1);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
static SUPPRESSED: AtomicU64 = AtomicU64::new(0);

/// Rate limit of one kind of line, without locks and allocations.
#[derive(Debug, Default)]
pub struct Sampled {
    /// Time of the next line, in milliseconds since [`START`].
    next: AtomicU64,
    suppressed: AtomicU64,
}

impl Sampled {
    /// Returns a rate limit whose first line is due at once.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            next: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        }
    }

    /// Returns the number of suppressed lines since the last one, if a line is due. Otherwise
    /// counts this line as suppressed.
    pub fn due(&self) -> Option<u64> {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.due_at(milliseconds(START.elapsed()), milliseconds(INTERVAL))
    }

    fn due_at(&self, now: u64, interval: u64) -> Option<u64> {
        let next = self.next.load(Ordering::Relaxed);
        let later = now.saturating_add(interval);
        if now >= next
            && self
                .next
                .compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        count_suppressed();
        None
    }
}

/// Rate limits by cause. The causes are fixed labels, so their number is small.
#[derive(Debug, Default)]
pub struct SampledCauses(RwLock<HashMap<&'static str, Sampled>>);

impl SampledCauses {
    /// Returns the number of suppressed lines of this cause, if a line is due. See
    /// [`Sampled::due`].
    pub fn due(&self, cause: &'static str) -> Option<u64> {
        if let Some(lines) = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(cause)
        {
            return lines.due();
        }
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(cause)
            .or_default()
            .due()
    }
}

/// Counts a line that another module suppressed.
pub fn count_suppressed() {
    SUPPRESSED.fetch_add(1, Ordering::Relaxed);
}

/// Returns the number of suppressed lines of this process.
#[must_use]
pub fn suppressed_lines() -> u64 {
    SUPPRESSED.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::Sampled;

    #[test]
    fn flood_of_lines_is_limited_and_counted() {
        let lines = Sampled::new();
        let due: Vec<_> = (0..3000)
            .filter_map(|millisecond| lines.due_at(millisecond, 1000))
            .collect();
        assert_eq!(due, [0, 999, 999]);
        assert_eq!(lines.due_at(60_000, 1000), Some(999));
        assert_eq!(lines.due_at(61_000, 1000), Some(0));
    }
}
