//! `latchkey serve`.
//!
//! A stop loses nothing: after the first signal and the shutdown delay, the server finishes its
//! requests (`latchkey-http/src/server.rs`), use cases that write run to completion, and the
//! background tasks write their queues (`src/app/background.rs`).

mod announcement;
mod signals;

use std::{future::pending, io, process::ExitCode, sync::Arc};

use tokio::sync::oneshot;

use self::signals::StopSignals;
use super::Failure;
use crate::{
    app::{App, FirstPassword},
    config::Config,
};
use latchkey_domain::ports::Clock;

pub(super) async fn run(config: &Config, clock: Arc<dyn Clock>) -> Result<ExitCode, Failure> {
    // Signals are caught before the start, so that one during the start is not lost.
    let uncaught = |error| Failure::Failed(format!("signals cannot be caught: {error}"));
    let mut signals = StopSignals::catch().map_err(uncaught)?;
    let app = tokio::select! {
        app = App::build(config, clock) => app?,
        _ = signals.next() => return Ok(ExitCode::SUCCESS),
    };
    let failed = |error: io::Error| Failure::Failed(format!("the server stopped: {error}"));
    let address = app.address().map_err(failed)?;
    announcement::print(address, app.first_user(), config);
    if let Some(user) = app.first_user()
        && let FirstPassword::Written(file) = &user.password
    {
        tracing::info!(username = user.username, file = %file.display(), "first user created: the password is in the file");
    }
    tracing::info!(%address, embedded = app.is_embedded(), "started");
    let (stop, stopped) = oneshot::channel();
    let (hurry, hurried) = oneshot::channel();
    let server = app.run(received(stopped), received(hurried));
    tokio::pin!(server);
    let delay = humantime::format_duration(config.http.shutdown_delay);
    for (request, is_first) in [(stop, true), (hurry, false)] {
        tokio::select! {
            served = &mut server => {
                served.map_err(failed)?;
                tracing::info!("stopped");
                return Ok(ExitCode::SUCCESS);
            }
            signal = signals.next() => {
                if is_first {
                    tracing::info!(signal, %delay, "stopping");
                } else if !config.http.shutdown_delay.is_zero() {
                    tracing::info!(signal, "second signal: the shutdown delay ends");
                }
                let _ = request.send(());
            }
        }
    }
    server.await.map_err(failed)?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Waits for the message. If the sender is dropped, it waits forever.
async fn received(message: oneshot::Receiver<()>) {
    if message.await.is_err() {
        pending::<()>().await;
    }
}
