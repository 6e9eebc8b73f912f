//! The verifier as a service uses it: a key set in JSON, a token in text.

mod key_sets;
mod properties;
mod signer;
mod tokens;
