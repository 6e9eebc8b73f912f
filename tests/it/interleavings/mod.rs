//! Random interleavings on real servers: three of them over the same stores, a fresh session each round, and everybody
//! at it at once. An oracle that knows no rule of the service but its promises judges each round.
//!
//! `INTERLEAVINGS` is how many rounds; `INTERLEAVINGS_SEED` plays one plan, as often as that: what an interleaving
//! finds may take more than one.

mod aftermath;
mod chance;
mod oracle;
mod places;
mod plan;
mod play;
mod stories;
