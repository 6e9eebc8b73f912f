//! What holds in every state, and what must be met at least once, or the rest would say nothing.

use stateright::Property;

use super::{Mark, Marks, State};

pub const BELIEVED: &str = "absence is believed only where no revocation can be missed";
pub const FORWARD: &str = "marks only move forward";
pub const TRUTH: &str = "a mark says no more than the database";

pub fn all() -> Vec<Property<Marks>> {
    vec![
        Property::always(BELIEVED, |_, state: &State| {
            let missed =
                |number: usize| state.says_clear(number) && !state.instances[number].excused;
            state.told < Mark::Revoked || !(missed(0) || missed(1))
        }),
        Property::always(FORWARD, |_, state: &State| !state.went_down),
        Property::always(TRUTH, |_, state: &State| state.redis.mark <= state.row),
        Property::sometimes("both believe", |_, state: &State| {
            state.says_clear(0) && state.says_clear(1)
        }),
        Property::sometimes(
            "after every fault both believe again",
            |_, state: &State| {
                let faults = [
                    state.floods,
                    state.restarts,
                    state.failures,
                    state.crashes,
                    state.jumps,
                    state.strangers,
                ];
                faults == [0; 6] && state.says_clear(0) && state.says_clear(1)
            },
        ),
        Property::sometimes(
            "a revocation is told, marked, and believed by both",
            |_, state: &State| {
                let calm = |number: usize| {
                    !state.instances[number].doubts && !state.instances[number].excused
                };
                state.told == Mark::Revoked
                    && state.redis.mark == Mark::Revoked
                    && calm(0)
                    && calm(1)
            },
        ),
    ]
}
