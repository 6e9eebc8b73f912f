//! Breaks a running deployment and measures the effect on its clients. See docs/reliability.md.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a harness program fails by panicking, and prints its results"
)]

mod attacks;
mod caches;
mod checkers;
mod document;
mod fault;
mod fault_report;
mod faults;
mod growth;
mod load;
mod matrix;
mod rotations;
mod shared;
mod tally;
mod wire;
mod world;

use std::process::ExitCode;

use clap::Parser;
use latchkey_testkit::ended::until_done_or_signalled;
use tokio::runtime::Builder;

/// Breaks a running deployment and measures the effect on its clients
#[derive(Parser)]
#[command(name = "scripts")]
enum Command {
    Faults(faults::Options),
    Rotations(rotations::Options),
}

fn main() -> ExitCode {
    let command = Command::parse();
    until_done_or_signalled(Builder::new_multi_thread().worker_threads(4), async {
        match &command {
            Command::Faults(options) => faults::run(options).await,
            Command::Rotations(options) => rotations::run(options).await,
        }
    })
}
