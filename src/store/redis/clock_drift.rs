//! Compares the clock of a server with ours. Redis expires keys by its own clock. If it jumps forward, entries expire
//! before the tokens that they refuse.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// The maximum drift between the two clocks from one rebuild to the next.
pub(super) const TOLERANCE: Duration = Duration::from_secs(5);

/// The time of a server, and the two moments of our monotonic clock between which it was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockReading {
    pub asked: Instant,
    pub answered: Instant,
    /// Since 1970.
    pub theirs: Duration,
}

/// The clocks of servers, by their addresses.
pub(super) type ClockReadings = BTreeMap<String, ClockReading>;

impl ClockReading {
    /// Returns true if the server's clock has jumped since `earlier`, in either direction. A clock that was set back
    /// may mean that the machine was restored from a snapshot, with its memory.
    pub(super) fn has_jumped_since(&self, earlier: &Self) -> bool {
        self.drift_since(earlier) > TOLERANCE
    }

    /// Returns the latest time that the server's clock can show now, unless it has jumped.
    pub(super) fn latest(&self, now: Instant) -> Duration {
        self.theirs + now.saturating_duration_since(self.asked) + TOLERANCE
    }

    /// Returns the difference between the times passed there and here, beyond what the round trips explain.
    fn drift_since(&self, earlier: &Self) -> Duration {
        let least = self.asked.saturating_duration_since(earlier.answered);
        let most = self.answered.saturating_duration_since(earlier.asked);
        match self.theirs.checked_sub(earlier.theirs) {
            Some(passed) => passed
                .saturating_sub(most)
                .max(least.saturating_sub(passed)),
            None => earlier.theirs.saturating_sub(self.theirs) + least,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(start: Instant, asked: u64, answered: u64, theirs: u64) -> ClockReading {
        let at = |seconds| start + Duration::from_secs(seconds);
        ClockReading {
            asked: at(asked),
            answered: at(answered),
            theirs: Duration::from_secs(1_800_000_000 + theirs),
        }
    }

    #[test]
    fn a_clock_that_keeps_pace_has_not_jumped_however_slow_its_answers_are() {
        let start = Instant::now();
        let first = reading(start, 0, 30, 0);
        for (asked, answered, theirs) in [
            (100, 100, 70),
            (100, 100, 100),
            (100, 140, 140),
            (100, 100, 105),
        ] {
            assert!(
                !reading(start, asked, answered, theirs).has_jumped_since(&first),
                "{asked} {answered} {theirs}"
            );
        }
    }

    #[test]
    fn a_clock_that_was_set_forward_or_back_has_jumped() {
        let start = Instant::now();
        let first = reading(start, 0, 0, 500);
        for theirs in [606, 1200, 594, 400, 0] {
            assert!(
                reading(start, 100, 100, theirs).has_jumped_since(&first),
                "{theirs}"
            );
        }
    }

    #[test]
    fn the_latest_possible_time_of_a_clock_moves_with_ours() {
        let start = Instant::now();
        let latest = reading(start, 0, 0, 0).latest(start + Duration::from_mins(1));
        assert_eq!(latest, Duration::from_secs(1_800_000_065));
    }

    /// Our machine was suspended: its monotonic clock stood still, and the server's went on.
    #[test]
    fn a_clock_that_went_on_while_ours_stood_still_has_jumped() {
        let start = Instant::now();
        assert!(reading(start, 1, 1, 61).has_jumped_since(&reading(start, 0, 0, 0)));
    }
}
