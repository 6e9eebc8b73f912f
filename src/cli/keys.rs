//! `latchkey keys`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use latchkey_verifier::Kind;
use serde_json::json;

use super::{Failure, output};
use crate::{
    app::StartError,
    config::{KeysConfig, value},
    crypto::{key_file, keyring::Keyring},
    ports::Clock,
};

#[derive(Args, Debug)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a key for access tokens; it signs once verifiers have had the time to see it. Running servers read the
    /// directory when they start
    Generate(KeysConfig),
    /// Show the keys and what each does now
    List {
        #[command(flatten)]
        keys: KeysConfig,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(arguments: &KeysArgs, clock: &dyn Clock) -> Result<ExitCode, Failure> {
    let wrong = |error| Failure::from(StartError::Keys(error));
    match &arguments.command {
        KeysCommand::Generate(keys) => {
            let _lock = key_file::lock(&keys.keys_dir).map_err(wrong)?;
            let made = key_file::create(&keys.keys_dir, Kind::Access, keys.algorithm, clock.now()).map_err(wrong)?;
            output::line(&format!("made {}", made.path.display()));
        }
        KeysCommand::List { keys, json } => list(keys, *json, clock).map_err(wrong)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(keys: &KeysConfig, as_json: bool, clock: &dyn Clock) -> Result<(), key_file::KeyFileError> {
    let now = clock.now();
    let none = "there are no keys yet: `latchkey serve` makes them";
    let ring = Keyring::read(&keys.keys_dir, value::delta(keys.key_publish_lead))?;
    if as_json {
        let all: Vec<_> = ring
            .states(now)
            .map(|(stored, state)| {
                json!({
                    "kid": stored.key.kid(),
                    "use": stored.key.kind().token_type(),
                    "algorithm": stored.key.algorithm().name(),
                    "created_at": stored.created_at.to_rfc3339(),
                    "state": state.as_str(),
                })
            })
            .collect();
        output::json(&json!(all));
        return Ok(());
    }
    let rows: Vec<_> = ring
        .states(now)
        .map(|(stored, state)| {
            vec![
                stored.key.kid().to_owned(),
                stored.key.kind().token_type().to_owned(),
                stored.key.algorithm().to_string(),
                stored.created_at.to_rfc3339(),
                state.as_str().to_owned(),
            ]
        })
        .collect();
    output::table(&["KID", "USE", "ALGORITHM", "CREATED", "STATE"], &rows, none);
    Ok(())
}
