//! `latchkey openapi`.

use std::process::ExitCode;

use super::output;
use crate::app;

/// The document that the server serves, byte for byte. It depends on no setting, so none is looked at.
pub(super) fn run() -> ExitCode {
    output::bytes(app::openapi().as_bytes());
    ExitCode::SUCCESS
}
