//! Failures of commands, and their exit codes.

use std::process::ExitCode;

use clap::error::ErrorKind;

use super::{all_settings, output};
use crate::{
    app::StartError,
    config::{ConfigError, environment},
};
use latchkey_domain::ports::StoreError;
use latchkey_service::{keys::KeysError, users::AccountError};
use latchkey_store::sql::ConnectError;

/// Reason that a command failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Failure or refusal: exit code 1.
    Failed(String),
    /// Invalid arguments or settings: exit code 2.
    Config(String),
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Config(_)
            | StartError::KeySet(_)
            | StartError::Listen(..)
            | StartError::ListenMetrics(..)
            | StartError::Empty(_)
            | StartError::Unusable(_, ConnectError::Refused(_)) => Self::Config(error.to_string()),
            StartError::Keys(error) => error.into(),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<KeysError> for Failure {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Broken(..)
            | KeysError::Passphrase(..)
            | KeysError::Store(_, StoreError::Failed(_))
            | KeysError::Unprotected => Self::Config(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error.to_string())
    }
}

impl From<AccountError> for Failure {
    fn from(error: AccountError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<latchkey_service::Error> for Failure {
    fn from(error: latchkey_service::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Prints an error of clap, and returns its exit code. An invalid value is printed in one line that
/// names the setting. Help, the version and unknown flags are printed as by clap.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    if let Some(wrong) = environment::value_error(&all_settings(), error) {
        return fail(&Failure::Config(wrong.to_string()));
    }
    // clap repeats an unexpected argument, which may be a URL with a password.
    if matches!(
        error.kind(),
        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand
    ) && holds_url(error)
    {
        return fail(&Failure::Config(
            "an unexpected argument holds a URL or a password: run latchkey help".to_owned(),
        ));
    }
    output::usage(error);
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn holds_url(error: &clap::Error) -> bool {
    let text = error.to_string();
    ["://", "pass=", "password="]
        .iter()
        .any(|part| text.contains(part))
}

pub(super) fn fail(failure: &Failure) -> ExitCode {
    let (text, code) = match failure {
        Failure::Failed(text) => (text, 1),
        Failure::Config(text) => (text, 2),
    };
    output::error(text);
    ExitCode::from(code)
}
