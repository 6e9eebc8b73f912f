//! Verifies Latchkey's tokens offline: keys in, claims or a precise refusal out.
//!
//! This crate is pure. It opens no connection, reads no clock and no file: the caller hands over the keys
//! (usually the text of `/.well-known/jwks.json`) and the time. Latchkey itself verifies through it, so a service
//! that uses this crate and the server that signed the token judge by the same code.
//!
//! ```
//! use latchkey_verifier::{KeySet, Policy, Refusal, Verifier};
//!
//! # let jwks = r#"{"keys":[]}"#;
//! let keys = KeySet::from_jwks(jwks)?;
//! let verifier = Verifier::new(keys, Policy::new("https://auth.example.com"));
//!
//! let now = 1_795_313_083; // seconds since 1970, from your clock
//! assert_eq!(verifier.verify_access("not a token", now).unwrap_err(), Refusal::Malformed);
//! # Ok::<(), latchkey_verifier::KeyError>(())
//! ```
//!
//! What it does not know is what happened after the token was signed: a log-out reaches an offline verifier when
//! the token expires, five minutes later by default. Ask the server's verify endpoint where that is too late.

mod algorithm;
mod claims;
mod claims_set;
mod compact;
mod error;
mod header;
mod json;
mod key;
mod policy;
mod roca;
mod verifier;

pub use algorithm::{Algorithm, Family, UnknownAlgorithm};
pub use claims::{Claims, Seconds};
pub use compact::MAX_TOKEN_LENGTH;
pub use error::VerifyError;
pub use key::{KeyError, KeySet, MAX_KEYS, VerifyingKey};
pub use policy::{ClaimNames, Kind, Policy};
pub use verifier::{Checked, Signed, Verifier};
