//! `scripts/faults`: the fault matrix, the attacks and the growth run. See docs/reliability.md.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::Args;
use serde_json::Value;

use crate::{attacks, document, fault, fault_report, growth, matrix, world};

/// Injects faults under load and reports their effect on clients
#[derive(Args)]
pub struct Options {
    /// Run only this fault or attack (repeatable); the document is not updated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Duration of each fault; the document is updated only for the default
    #[arg(long, value_name = "NUMBER", default_value_t = SECONDS, value_parser = clap::value_parser!(u64).range(1..=8))]
    seconds: u64,
    /// Print the faults and the attacks
    #[arg(long)]
    list: bool,
    /// Also write the numbers to this file
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    /// Run attacks instead of the faults, and measure honest clients
    #[arg(long)]
    attacks: bool,
    /// Another build of the program, for comparison
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Measure the growth of tables, Redis and memory over many rotations instead of the faults
    #[arg(long)]
    growth: bool,
    /// Number of rotations; the document is updated only for the default
    #[arg(long, value_name = "NUMBER", default_value_t = ROTATIONS, value_parser = clap::value_parser!(u64).range(1000..))]
    rotations: u64,
}

const SECONDS: u64 = 4;
const ROTATIONS: u64 = 200_000;

/// Runs what the options select. Returns a failure if a guarantee was violated.
pub async fn run(options: &Options) -> ExitCode {
    if options.list {
        let faults = fault::ALL.iter().map(|fault| (fault.name, fault.what));
        let attacks = attacks::ALL.iter().map(|attack| (attack.name, attack.what));
        for (name, what) in faults.chain(attacks) {
            println!("{name:28} {what}");
        }
        return ExitCode::SUCCESS;
    }
    if let Some(program) = &options.program {
        world::use_program(program);
    }
    if options.attacks {
        return if run_attacks(options).await {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        };
    }
    let (failed, numbers) = if options.growth {
        run_growth(options).await
    } else {
        run_faults(options).await
    };
    if let Some(path) = &options.json {
        fs::write(path, format!("{numbers:#}\n")).unwrap();
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

async fn run_faults(options: &Options) -> (bool, Value) {
    for name in &options.only {
        assert!(
            fault::ALL.iter().any(|fault| fault.name == name),
            "unknown fault {name}: see scripts/faults --list"
        );
    }
    let all = options.only.is_empty();
    let chosen: Vec<_> = fault::ALL
        .into_iter()
        .filter(|f| all || options.only.iter().any(|n| n == f.name))
        .collect();
    let mut outcomes = Vec::new();
    for (number, fault) in chosen.iter().enumerate() {
        println!(
            "fault {} of {}: {}: {}",
            number + 1,
            chosen.len(),
            fault.name,
            fault.what
        );
        let outcome = matrix::run(*fault, options.seconds).await;
        for line in &outcome.reports {
            println!("  {line}");
        }
        outcomes.push(outcome);
    }
    let tables = fault_report::tables(&outcomes);
    println!("\n{tables}");
    if all && options.seconds == SECONDS && options.program.is_none() {
        document::publish("faults", "scripts/faults", &tables);
    }
    let failed = outcomes.iter().any(matrix::Outcome::failed);
    println!(
        "{}; the logs of the instances are in {}",
        verdict(failed),
        world::logs().display()
    );
    (failed, fault_report::json(&outcomes))
}

async fn run_attacks(options: &Options) -> bool {
    for name in &options.only {
        assert!(
            attacks::ALL.iter().any(|attack| attack.name == name),
            "unknown attack {name}: see scripts/faults --list"
        );
    }
    let all = options.only.is_empty();
    let mut outcomes = Vec::new();
    let mut failed = false;
    for attack in attacks::ALL
        .iter()
        .filter(|attack| all || options.only.iter().any(|name| name == attack.name))
    {
        println!("attack {}: {}", attack.name, attack.what);
        let outcome = attacks::run(attack, options.seconds).await;
        for line in outcome.violations() {
            println!("  {line}");
            failed = true;
        }
        outcomes.push(outcome);
    }
    let mut table = attacks::table(&outcomes);
    if all {
        let costs = attacks::cost::measure().await;
        for line in attacks::cost::violations(&costs) {
            println!("  {line}");
            failed = true;
        }
        table = format!("{table}\n{}", attacks::cost::table(&costs));
    }
    println!("\n{table}");
    if all && options.seconds == SECONDS && options.program.is_none() {
        document::publish("attacks", "scripts/faults", &table);
    }
    println!("{}", verdict(failed));
    failed
}

async fn run_growth(options: &Options) -> (bool, Value) {
    let growth = growth::run(options.rotations).await;
    let table = growth.table();
    println!("\n{table}");
    let violations = growth.violations();
    for line in &violations {
        println!("  {line}");
    }
    if options.rotations == ROTATIONS && options.program.is_none() {
        document::publish("growth", "scripts/faults", &table);
    }
    println!("{}", verdict(!violations.is_empty()));
    (!violations.is_empty(), growth.json())
}

const fn verdict(failed: bool) -> &'static str {
    if failed {
        "violations were found"
    } else {
        "no violations"
    }
}
