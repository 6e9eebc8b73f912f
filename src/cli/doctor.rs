//! `latchkey doctor`.

use std::{process::ExitCode, sync::Arc};

use super::{Failure, output};
use crate::{
    app::doctor::{self, Severity},
    config::Config,
};
use latchkey_domain::ports::Clock;

/// Prints a line for each part. The exit code is 1 if any part has a fault.
pub(super) async fn run(config: &Config, clock: Arc<dyn Clock>) -> Result<ExitCode, Failure> {
    let findings = doctor::examine(config, clock).await;
    for finding in &findings {
        let verdict = match finding.verdict {
            Severity::Good => "ok",
            Severity::Warning => "warn",
            Severity::Bad => "FAIL",
        };
        output::line(&format!(
            "{verdict:4}  {:13}  {}",
            finding.part, finding.text
        ));
    }
    let sound = findings
        .iter()
        .all(|finding| finding.verdict != Severity::Bad);
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
