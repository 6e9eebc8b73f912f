//! Keys, signatures, password hashes and randomness. Knows the domain and nothing of stores or HTTP.

pub mod hasher;
pub mod jwk;
pub mod key_file;
pub mod keyring;
pub mod random;
pub mod sign;
pub mod signing_key;
