//! The benchmark: `scripts/bench`. See docs/performance.md. Each operation is measured in turns
//! with its baseline, by the processor time of the server, which other work on the machine hardly
//! changes.

#![expect(
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a harness program fails by panicking, and prints its results"
)]

mod bare;
mod clients;
mod floor;
mod growth;
mod load;
mod memory;
mod mint;
mod process;
mod report;
mod scenarios;
mod stack;
mod storm;
mod wire;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use serde_json::{Value, json};

use latchkey_testkit::ended;

use crate::{report::Ratio, stack::Stack};

/// Measures Latchkey and a baseline for each operation
#[derive(Parser)]
#[command(name = "scripts/bench")]
struct Options {
    /// Run fewer and shorter rounds, which detect a change but do not quantify it
    #[arg(long)]
    quick: bool,
    /// Run only these, separated by commas: verify-new, verify-seen, refresh, obtain, storm, jwks,
    /// memory, growth
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Also write the numbers to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Numbers of sessions in the larger tables of the growth run, in thousands, separated by
    /// commas
    #[arg(
        long,
        value_name = "NUMBERS",
        value_delimiter = ',',
        default_value = "1000"
    )]
    growth: Vec<u32>,
    #[command(subcommand)]
    mode: Option<Mode>,
}

#[derive(Subcommand)]
enum Mode {
    /// Run the baseline server
    #[command(hide = true)]
    Floor(floor::Settings),
}

/// Size of the measurements.
#[derive(Clone, Copy, Debug)]
struct Effort {
    rounds: usize,
    /// Requests in a round of the fastest operation. The others have proportionally fewer.
    requests: usize,
    refreshes_for_memory: usize,
}

const FULL: Effort = Effort {
    rounds: 7,
    requests: 60_000,
    refreshes_for_memory: 200_000,
};
const QUICK: Effort = Effort {
    rounds: 3,
    requests: 15_000,
    refreshes_for_memory: 20_000,
};

impl Effort {
    /// Returns as many requests in shorter turns, for operations that brief load on the machine
    /// would distort.
    const fn finer(self) -> Self {
        Self {
            rounds: self.rounds * 3,
            requests: self.requests / 3,
            ..self
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(Mode::Floor(settings)) = options.mode {
        return floor::run(settings);
    }
    // One thread for the clients, so that the other cores are free for the servers.
    ended::until_done_or_signalled(
        &mut tokio::runtime::Builder::new_current_thread(),
        measure(&options),
    )
}

async fn measure(options: &Options) -> ExitCode {
    let effort = if options.quick { QUICK } else { FULL };
    let wanted =
        |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let stack = Stack::start("main", 2000, 10_000).await;
    let mut ratios: Vec<Ratio> = Vec::new();
    let mut memory = Value::Null;
    let mut growth = Value::Null;
    // First, before any request.
    if wanted("memory") {
        memory = memory::idle(&stack);
    }
    if wanted("jwks") {
        ratios.push(scenarios::jwks(&stack, effort.finer()).await);
    }
    if wanted("verify-new") {
        ratios.push(scenarios::verify_new(&stack, effort.finer()).await);
    }
    if wanted("verify-seen") {
        ratios.push(scenarios::verify_seen(&stack, effort.finer()).await);
    }
    if wanted("refresh") {
        ratios.extend(scenarios::refresh(&stack, effort.finer()).await);
    }
    if wanted("obtain") {
        ratios.push(scenarios::obtain(&stack, effort).await);
    }
    if wanted("storm") {
        ratios.push(storm::run(&stack, effort).await);
    }
    if wanted("memory") {
        memory::under_load(&stack, effort, &mut memory).await;
    }
    if wanted("growth") {
        growth = growth::run(effort, &options.growth).await;
    }
    let wrong: usize = ratios.iter().map(Ratio::wrong).sum();
    let bare = bare::all(&stack).await;
    println!("\n{}", report::table(&ratios));
    println!("{}", report::plain("Memory", &memory));
    println!("{}", report::plain("Growth", &growth));
    println!("{}", report::plain("Bare operations, microseconds", &bare));
    println!("{wrong} wrong responses");
    if let Some(path) = &options.json {
        let document = json!({
            "ratios": ratios.iter().map(Ratio::json).collect::<Vec<_>>(), "memory": memory, "growth": growth,
            "bare": bare, "wrong": wrong, "quick": options.quick,
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
        });
        std::fs::write(path, format!("{document:#}\n")).unwrap();
    }
    if wrong > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
