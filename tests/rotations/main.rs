//! Key rotations under load on three instances: `scripts/rotations`. See docs/reliability.md.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a harness program fails by panicking, and prints its results"
)]

#[path = "../faults/caches.rs"]
#[expect(dead_code, reason = "only the fault matrix uses the rest")]
mod caches;
#[path = "../faults/checkers.rs"]
#[expect(dead_code, reason = "only the fault matrix uses the rest")]
mod checkers;
#[path = "../faults/document.rs"]
mod document;
#[path = "../faults/ended.rs"]
mod ended;
mod feed;
#[path = "../faults/load.rs"]
mod load;
mod offline;
mod operator;
#[path = "../faults/proxy.rs"]
#[expect(dead_code, reason = "only the fault matrix uses the rest")]
mod proxy;
mod report;
mod revoke;
mod run;
#[expect(dead_code, unused_imports, reason = "only the tests use the rest")]
#[path = "../it/support/servers.rs"]
mod servers;
#[path = "../faults/shared.rs"]
mod shared;
#[path = "../faults/tally.rs"]
#[expect(dead_code, reason = "only the fault matrix uses the rest")]
mod tally;
#[expect(dead_code, reason = "only the tests use the rest")]
#[path = "../it/interop/verifier.rs"]
mod verifier;
#[expect(dead_code, reason = "only the fault matrix uses the rest")]
#[path = "../faults/wire.rs"]
mod wire;
#[path = "../faults/world.rs"]
#[expect(dead_code, reason = "only the fault matrix uses the rest")]
mod world;

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;

/// Rotates and revokes keys under load and reports refused tokens
#[derive(Parser)]
#[command(name = "scripts/rotations")]
struct Options {
    /// Number of rotations in each arrangement; the document is updated only for the default
    #[arg(long, value_name = "NUMBER", default_value_t = ROTATIONS, value_parser = clap::value_parser!(u32).range(1..=30))]
    rotations: u32,
    /// Minimum time between two rotations; each also waits until the new key signs
    #[arg(long, value_name = "NUMBER", default_value_t = 8)]
    seconds_between: u64,
    /// Also write the numbers to this file
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

const ROTATIONS: u32 = 20;

fn main() -> ExitCode {
    let options = Options::parse();
    ended::until_done_or_signalled(
        tokio::runtime::Builder::new_multi_thread().worker_threads(4),
        rotate(&options),
    )
}

async fn rotate(options: &Options) -> ExitCode {
    let mut outcomes = Vec::new();
    for arrangement in run::ALL {
        println!(
            "keys in {}: {} rotations",
            arrangement.place, options.rotations
        );
        let outcome = run::run(
            arrangement,
            options.rotations,
            Duration::from_secs(options.seconds_between),
        )
        .await;
        for line in &outcome.reports {
            println!("  {line}");
        }
        outcomes.push(outcome);
    }
    let tables = report::tables(&outcomes);
    println!("\n{tables}");
    if options.rotations == ROTATIONS {
        document::publish("rotations", "scripts/rotations", &tables);
    }
    if let Some(path) = &options.json {
        fs::write(path, format!("{:#}\n", report::json(&outcomes))).unwrap();
    }
    let failed = outcomes.iter().any(run::Outcome::failed);
    let verdict = if failed {
        "violations were found"
    } else {
        "no violations"
    };
    println!(
        "{verdict}; the logs of the instances are in {}",
        world::logs().display()
    );
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
