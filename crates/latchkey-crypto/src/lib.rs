//! Keys, signatures, password hashes and random values. Depends on the domain and the ports, but
//! not on stores or HTTP.

mod guessable;
pub mod hasher;
pub mod jwk;
mod key_der;
mod key_forms;
pub mod key_import;
mod key_jwk;
mod key_pair;
pub mod key_pem;
pub mod key_ring;
mod key_ssh;
pub mod passphrase;
pub mod random;
pub mod sign;
pub mod signing_key;
