//! Random interleavings on three real servers with shared stores. Each round runs concurrent
//! operations on a new session.
//!
//! An oracle checks each round against the guarantees of the service, without its rules.
//!
//! `INTERLEAVINGS` is the number of rounds. `INTERLEAVINGS_SEED` repeats one plan that often,
//! because a fault may need several attempts.

mod aftermath;
mod oracle;
mod places;
mod plan;
mod play;
mod rng;
mod tests;
