//! `latchkey openapi`.

use std::process::ExitCode;

use super::output;
use crate::app;

/// Prints the document that the server serves, byte for byte. It does not depend on settings.
pub(super) fn run() -> ExitCode {
    output::bytes(app::openapi().as_bytes());
    ExitCode::SUCCESS
}
