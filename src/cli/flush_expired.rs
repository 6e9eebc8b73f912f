//! `latchkey flush-expired`.

use std::{process::ExitCode, sync::Arc};

use clap::Args;

use super::{Failure, StoreArgs, output};
use crate::app::operator;
use latchkey_domain::ports::Clock;

#[derive(Args, Debug)]
pub(super) struct FlushExpiredArgs {
    #[command(flatten)]
    store: StoreArgs,
}

pub(super) async fn run(
    arguments: &FlushExpiredArgs,
    clock: Arc<dyn Clock>,
) -> Result<ExitCode, Failure> {
    let janitor = operator::janitor(arguments.store.operator(), clock).await?;
    let flushed = janitor
        .purge_expired()
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let counted =
        |number, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let (sessions, users) = (
        counted(flushed.sessions, "session"),
        counted(flushed.users, "deleted user"),
    );
    let events = counted(flushed.events, "audit event");
    output::line(&format!("removed {sessions}, {users} and {events}"));
    arguments.store.changed()?;
    Ok(ExitCode::SUCCESS)
}
