//! Keys rotated under load, on three real servers: `scripts/rotations`, explained in docs/reliability.md.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it ends where it is surprised, and prints what it finds"
)]

#[path = "../faults/caches.rs"]
#[expect(dead_code, reason = "the fault matrix uses more of it")]
mod caches;
#[path = "../faults/checkers.rs"]
#[expect(dead_code, reason = "the fault matrix uses more of it")]
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
#[expect(dead_code, reason = "the fault matrix uses more of it")]
mod proxy;
mod report;
mod revoke;
mod run;
#[expect(dead_code, unused_imports, reason = "the tests use more of it")]
#[path = "../it/support/servers.rs"]
mod servers;
#[path = "../faults/tally.rs"]
#[expect(dead_code, reason = "the fault matrix uses more of it")]
mod tally;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../it/interop/verifier.rs"]
mod verifier;
#[expect(dead_code, reason = "the fault matrix uses more of it")]
#[path = "../faults/wire.rs"]
mod wire;
#[path = "../faults/world.rs"]
#[expect(dead_code, reason = "the fault matrix uses more of it")]
mod world;

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;

/// Rotates and revokes keys under load and says whether a token was refused.
#[derive(Parser)]
#[command(name = "scripts/rotations")]
struct Options {
    /// How many in each arrangement; the document is written for the default alone
    #[arg(long, value_name = "NUMBER", default_value_t = ROTATIONS, value_parser = clap::value_parser!(u32).range(1..=30))]
    rotations: u32,
    /// From one rotation to the next, at the least: it waits until the new key signs
    #[arg(long, value_name = "NUMBER", default_value_t = 8)]
    seconds_between: u64,
    /// Where the numbers go, too
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

const ROTATIONS: u32 = 20;

fn main() -> ExitCode {
    let options = Options::parse();
    ended::when_done_or_told(
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
        for line in &outcome.told {
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
        "something promised was broken"
    } else {
        "all promises were kept"
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
