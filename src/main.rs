//! The `latchkey` program.

use std::process::ExitCode;

/// Requests allocate on one thread and free on another, and short lives are many: a twentieth of a refresh was glibc's
/// bookkeeping.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    latchkey::cli::run(std::env::args_os().collect())
}
