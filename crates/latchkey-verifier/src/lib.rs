//! Offline verification of Latchkey's tokens. From keys, a policy and the time it derives claims or
//! a precise error.
//!
//! This crate is pure: it opens no connection and reads no file or clock. The caller passes the
//! keys, usually the text of `/.well-known/jwks.json`, and the time. The Latchkey server verifies
//! its tokens with the same code.
//!
//! ```
//! use latchkey_verifier::{KeySet, Policy, VerifyError, Verifier};
//!
//! # let jwks = r#"{"keys":[]}"#;
//! let keys = KeySet::from_jwks(jwks)?;
//! let verifier = Verifier::new(keys, Policy::new("https://auth.example.com"));
//!
//! let now = 1_795_313_083; // seconds since 1970, from your clock
//! assert_eq!(verifier.verify_access("not a token", now).unwrap_err(), VerifyError::Malformed);
//! # Ok::<(), latchkey_verifier::KeyError>(())
//! ```
//!
//! Verification does not detect changes after the token was signed. A log-out takes effect in an
//! offline verifier when the token expires, by default after five minutes. If this is too late,
//! query the server's verify endpoint.

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
