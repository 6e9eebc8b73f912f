//! Keys, signatures, password hashes and randomness. Knows the domain and the ports, and nothing of stores or HTTP.

mod guessable;
pub mod hasher;
pub mod jwk;
pub mod key_import;
pub mod key_text;
pub mod keyring;
pub mod passphrase;
pub mod random;
pub mod sign;
pub mod signing_key;
