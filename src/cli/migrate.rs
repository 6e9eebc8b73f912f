//! `latchkey migrate`.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Failure, changed, output};
use crate::config::DatabaseConfig;
use latchkey_store::sql::migrate::{self, MigrateError};

#[derive(Args, Debug)]
pub(super) struct MigrateArgs {
    #[command(subcommand)]
    command: MigrateCommand,
}

#[derive(Debug, Subcommand)]
enum MigrateCommand {
    /// Apply pending migrations, as `serve` does at the start
    Run(DatabaseConfig),
    /// List applied and pending migrations; the exit code is 1 if the database is not at this
    /// version
    Status(DatabaseConfig),
}

pub(super) async fn run(arguments: MigrateArgs) -> Result<ExitCode, Failure> {
    match arguments.command {
        MigrateCommand::Run(database) => {
            let applied = migrate::run(&database.url()?, database.database_timeout)
                .await
                .map_err(|error| failed(&error))?;
            for name in &applied {
                output::line(&format!("applied {name}"));
            }
            if applied.is_empty() {
                output::line("nothing to do: the database is at this version");
            }
            changed(&database)?;
            Ok(ExitCode::SUCCESS)
        }
        MigrateCommand::Status(database) => {
            let status = migrate::status(&database.existing()?, database.database_timeout)
                .await
                .map_err(|error| failed(&error))?;
            for version in &status.applied {
                let unknown = status.unknown.contains(version);
                output::line(&format!(
                    "{}  {version}",
                    if unknown { "unknown" } else { "applied" }
                ));
            }
            for name in &status.pending {
                output::line(&format!("pending  {name}"));
            }
            let current = status.pending.is_empty() && status.unknown.is_empty();
            Ok(if current {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
    }
}

fn failed(error: &MigrateError) -> Failure {
    Failure::Failed(error.to_string())
}
