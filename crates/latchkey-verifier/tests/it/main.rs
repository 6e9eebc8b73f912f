//! The verifier as a service uses it: a key set in JSON, a token in text.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

mod claims;
mod forgeries;
mod key_sets;
mod properties;
mod signer;
mod tokens;
mod unfit_keys;
