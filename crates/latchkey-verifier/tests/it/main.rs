//! Tests of the public API: key sets in JSON, and tokens as text.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic fails the test"
)]

mod claims;
mod forgeries;
mod headers;
mod key_sets;
mod objects;
mod properties;
mod signatures;
mod signer;
mod tokens;
mod unfit_keys;
