//! Invariants, and situations that the exploration must reach so that the invariants are tested.

use stateright::Property;

use super::{Blacklist, State, Status};

pub const NO_MISSED_REVOCATION: &str =
    "a lookup is `Clear` only if no acknowledged revocation is missed";
pub const ENTRIES_ONLY_INCREASE: &str = "an entry never falls back to an older status";
pub const ENTRY_NOT_AHEAD_OF_ROW: &str = "an entry is never ahead of its row";

pub fn all() -> Vec<Property<Blacklist>> {
    vec![
        Property::always(NO_MISSED_REVOCATION, |_, state: &State| {
            let missed = |number: usize| {
                state.lookup_is_clear(number) && !state.instances[number].replay_due
            };
            state.acknowledged < Status::Revoked || !(missed(0) || missed(1))
        }),
        Property::always(ENTRIES_ONLY_INCREASE, |_, state: &State| {
            !state.status_decreased
        }),
        Property::always(ENTRY_NOT_AHEAD_OF_ROW, |_, state: &State| {
            state.redis.entry <= state.row
        }),
        Property::sometimes("both instances trust the blacklist", |_, state: &State| {
            state.lookup_is_clear(0) && state.lookup_is_clear(1)
        }),
        Property::sometimes(
            "both instances trust the blacklist again after every fault",
            |_, state: &State| {
                let faults = [
                    state.flushes,
                    state.restarts,
                    state.failures,
                    state.crashes,
                    state.jumps,
                    state.foreign_rebuilds,
                ];
                faults == [0; 6] && state.lookup_is_clear(0) && state.lookup_is_clear(1)
            },
        ),
        Property::sometimes(
            "both instances trust a revoked entry after the answer",
            |_, state: &State| {
                let settled = |number: usize| {
                    !state.instances[number].untrusted && !state.instances[number].replay_due
                };
                state.acknowledged == Status::Revoked
                    && state.redis.entry == Status::Revoked
                    && settled(0)
                    && settled(1)
            },
        ),
    ]
}
