//! `scripts/rotations`: key rotations under load on three instances, with offline verifiers. See
//! docs/reliability.md.

mod feed;
mod offline;
mod operator;
mod report;
mod revoke;
mod run;

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;

use crate::{document, world};

/// Rotates and revokes keys under load and reports refused tokens
#[derive(Args)]
pub struct Options {
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

/// Rotates and revokes keys. Returns a failure if a guarantee was violated.
pub async fn run(options: &Options) -> ExitCode {
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
