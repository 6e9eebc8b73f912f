//! Generators of this repository. They are not part of the program that users run.
//!
//! `cargo run -p xtask -- reference` writes the generated pages into `docs/reference`, or into the
//! directory in its argument. `scripts/reference` and `scripts/drift` call it.

mod reference;

use std::{io, path::PathBuf};

use clap::{Parser, Subcommand};

/// Generators of this repository
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Write the OpenAPI document, the settings and the commands as Markdown, and the man page
    Reference {
        /// Directory of the pages
        #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference"))]
        folder: PathBuf,
    },
}

fn main() -> io::Result<()> {
    match Cli::parse().task {
        Task::Reference { folder } => reference::write(&folder),
    }
}
