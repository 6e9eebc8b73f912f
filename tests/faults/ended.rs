//! How a program that measures ends: whichever way it does, what it started is dropped, and its processes with it.

use std::process::ExitCode;

use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

/// Does the work on this runtime, until it is done or somebody says stop.
pub fn when_done_or_told(runtime: &mut Builder, work: impl Future<Output = ExitCode>) -> ExitCode {
    runtime.enable_all().build().unwrap().block_on(async {
        let mut terminate = signal(SignalKind::terminate()).unwrap();
        tokio::select! {
            code = work => code,
            _ = tokio::signal::ctrl_c() => ExitCode::from(130),
            _ = terminate.recv() => ExitCode::from(143),
        }
    })
}
