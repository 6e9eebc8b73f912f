//! Tests of the public API: key sets in JSON, and tokens as text.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic fails the test"
)]

mod claims;
mod forgeries;
mod key_sets;
mod properties;
mod signer;
mod tokens;
mod unfit_keys;
