//! All integration tests in one binary: real servers, real sockets, and a clock that tests advance.
//!
//! `scripts/test` runs them, and starts the Postgres and the Redis that they need.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod attack;
mod cli;
mod contract;
mod fault;
mod http;
mod interleavings;
mod interop;
mod keys;
mod readme;
mod rotation;
