//! Detection of clock jumps between a Redis server and this machine.
//!
//! Redis expires keys by its own clock. If that clock jumps forward, entries expire before the
//! tokens that they refuse.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Maximum drift between the two clocks from one rebuild to the next.
pub(super) const TOLERANCE: Duration = Duration::from_secs(5);

/// Time of a server, and the two moments of the local monotonic clock between which it was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockReading {
    pub sent_at: Instant,
    pub replied_at: Instant,
    /// Time since 1970.
    pub server_time: Duration,
}

/// Clock readings by server address.
pub(super) type ClockReadings = BTreeMap<String, ClockReading>;

impl ClockReading {
    /// Returns true if the server's clock has jumped since `earlier`, in either direction. A
    /// clock that was set back may mean that the machine was restored from a snapshot, with its
    /// cache.
    pub(super) fn has_jumped_since(&self, earlier: &Self) -> bool {
        self.drift_since(earlier) > TOLERANCE
    }

    /// Returns the latest time that the server's clock can show now, unless it has jumped.
    pub(super) fn latest(&self, now: Instant) -> Duration {
        self.server_time + now.saturating_duration_since(self.sent_at) + TOLERANCE
    }

    /// Returns the difference between the elapsed server time and the elapsed local time, beyond
    /// the uncertainty from the round trips.
    fn drift_since(&self, earlier: &Self) -> Duration {
        let min_elapsed = self.sent_at.saturating_duration_since(earlier.replied_at);
        let max_elapsed = self.replied_at.saturating_duration_since(earlier.sent_at);
        match self.server_time.checked_sub(earlier.server_time) {
            Some(elapsed) => elapsed
                .saturating_sub(max_elapsed)
                .max(min_elapsed.saturating_sub(elapsed)),
            None => earlier.server_time.saturating_sub(self.server_time) + min_elapsed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(start: Instant, sent_at: u64, replied_at: u64, server_time: u64) -> ClockReading {
        let at = |seconds| start + Duration::from_secs(seconds);
        ClockReading {
            sent_at: at(sent_at),
            replied_at: at(replied_at),
            server_time: Duration::from_secs(1_800_000_000 + server_time),
        }
    }

    #[test]
    fn slow_replies_of_a_steady_clock_are_no_jump() {
        let start = Instant::now();
        let first = reading(start, 0, 30, 0);
        for (sent_at, replied_at, server_time) in [
            (100, 100, 70),
            (100, 100, 100),
            (100, 140, 140),
            (100, 100, 105),
        ] {
            assert!(
                !reading(start, sent_at, replied_at, server_time).has_jumped_since(&first),
                "{sent_at} {replied_at} {server_time}"
            );
        }
    }

    #[test]
    fn clock_set_forward_or_back_has_jumped() {
        let start = Instant::now();
        let first = reading(start, 0, 0, 500);
        for server_time in [606, 1200, 594, 400, 0] {
            assert!(
                reading(start, 100, 100, server_time).has_jumped_since(&first),
                "{server_time}"
            );
        }
    }

    #[test]
    fn latest_possible_time_advances_with_the_local_clock() {
        let start = Instant::now();
        let latest = reading(start, 0, 0, 0).latest(start + Duration::from_mins(1));
        assert_eq!(latest, Duration::from_secs(1_800_000_065));
    }

    /// The local machine was suspended: its monotonic clock stood still, the server's clock went
    /// on.
    #[test]
    fn suspension_of_the_local_machine_is_a_jump() {
        let start = Instant::now();
        assert!(reading(start, 1, 1, 61).has_jumped_since(&reading(start, 0, 0, 0)));
    }
}
