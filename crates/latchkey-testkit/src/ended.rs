//! Termination of a harness program: started processes are ended in every case, because their
//! owners are dropped.

use std::process::ExitCode;

use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

/// Runs `work` on this runtime until it is done, or until SIGINT or SIGTERM.
pub fn until_done_or_signalled(
    runtime: &mut Builder,
    work: impl Future<Output = ExitCode>,
) -> ExitCode {
    runtime.enable_all().build().unwrap().block_on(async {
        let mut terminate = signal(SignalKind::terminate()).unwrap();
        tokio::select! {
            code = work => code,
            _ = tokio::signal::ctrl_c() => ExitCode::from(130),
            _ = terminate.recv() => ExitCode::from(143),
        }
    })
}
