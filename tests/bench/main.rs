//! The benchmark: `scripts/bench`, explained in docs/performance.md. Everything is measured beside its own limit, in turns,
//! and by the processor's time of the process that serves: other work on the machine hardly moves that.

#![expect(
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it ends where it is surprised, and prints what it finds"
)]

mod bare;
mod clients;
#[path = "../faults/ended.rs"]
mod ended;
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

use crate::{report::Ratio, stack::Stack};

/// Measures Latchkey beside what limits it.
#[derive(Parser)]
#[command(name = "scripts/bench")]
struct Options {
    /// Fewer and shorter rounds: to see whether something changed, not by how much
    #[arg(long)]
    quick: bool,
    /// Only these, separated by commas: verify-new, verify-seen, refresh, obtain, storm, jwks, memory, growth
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Where the numbers go, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Sessions in the larger tables of the growth run, in thousands, separated by commas
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
    /// The server that does only what cannot be left out
    #[command(hide = true)]
    Floor(floor::Settings),
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Effort {
    rounds: usize,
    /// Requests in a round, of those that take no time; the others are fewer in proportion.
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
    /// As many requests in shorter turns: for what a moment's load of the machine would tilt.
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
    // One thread: it drives, and the other cores are for what is driven.
    ended::when_done_or_told(
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
    // First, while nothing has been asked yet.
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
    println!("{wrong} wrong answers");
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
