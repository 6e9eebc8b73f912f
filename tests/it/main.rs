//! All integration tests, in one binary: real servers, real sockets, a clock that is advanced and never waited for.
//!
//! Run them with `scripts/test`, which starts the Postgres and the Redis that they need.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says by panicking that something is not as it should be"
)]

#[macro_use]
mod support;

mod attack;
mod cli;
mod contract;
mod fault;
mod http;
mod interleavings;
mod interop;
mod keys;
mod model;
mod readme;
mod rotation;
