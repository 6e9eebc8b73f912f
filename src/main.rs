//! The `latchkey` program.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    latchkey::cli::run(std::env::args_os().collect()).await
}
