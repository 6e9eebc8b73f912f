//! The command line: arguments in, lines and an exit code out. 0: done. 1: it failed or was refused, and a sentence on
//! standard error says why. 2: the arguments or the settings are wrong, in one line.

mod config;
mod doctor;
mod flush_expired;
mod keys;
mod migrate;
mod output;
mod serve;
mod sessions;
mod users;

use std::{ffi::OsString, process::ExitCode, sync::Arc};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::{
    app::{StartError, operator::OperatorConfig},
    config::{
        Config, ConfigError, DatabaseConfig, LifetimesConfig, LogConfig, PasswordsConfig, RedisConfig, environment,
    },
    ports::{Clock, clock::SystemClock},
    service::accounts::AccountError,
    telemetry,
};

/// A JWT access and refresh token service with the wire of Django's simplejwt.
#[derive(Debug, Parser)]
#[command(
    name = "latchkey",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Start with `latchkey serve`. Every setting is a flag, an environment variable and a line of `latchkey serve --help`;\na .env file in the working directory is read first."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server: with no settings at all, on an embedded database
    Serve(Box<Config>),
    /// Print the settings in force, with secrets hidden
    Config(Box<Config>),
    /// Bring the database to this version, or say what is missing
    Migrate(migrate::MigrateArgs),
    /// Make, show and change users
    Users(users::UsersArgs),
    /// Show signing keys, or make one
    Keys(keys::KeysArgs),
    /// Show a user's sessions, or end them
    Sessions(sessions::SessionsArgs),
    /// Remove sessions whose tokens have all expired (simplejwt's flushexpiredtokens); the server also does it hourly
    FlushExpired(flush_expired::FlushExpiredArgs),
    /// Look at configuration, keys, database, migrations, Redis and clock, and change nothing
    Doctor(Box<Config>),
    /// Print a completion script for a shell
    Completions {
        /// bash, elvish, fish, powershell or zsh
        shell: Shell,
    },
}

/// The settings that commands other than `serve` share.
#[derive(Args, Clone, Debug)]
struct StoreArgs {
    #[command(flatten)]
    database: DatabaseConfig,
    #[command(flatten)]
    redis: RedisConfig,
    #[command(flatten)]
    lifetimes: LifetimesConfig,
}

impl StoreArgs {
    const fn operator(&self) -> OperatorConfig<'_> {
        OperatorConfig { database: &self.database, redis: &self.redis, lifetimes: &self.lifetimes }
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
enum Failure {
    /// It was refused or failed: exit code 1.
    Failed(String),
    /// A setting is wrong: exit code 2.
    Config(String),
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Config(_) | StartError::Keys(_) | StartError::KeySet(_) | StartError::Listen(..) => {
                Self::Config(error.to_string())
            }
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

impl From<crate::service::Error> for Failure {
    fn from(error: crate::service::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Reads `.env`, the arguments and the environment, and does what they say.
#[must_use]
pub async fn run(arguments: Vec<OsString>) -> ExitCode {
    if let Err(failure) = load_dotenv() {
        return fail(&failure);
    }
    let matches = match Cli::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return usage(&error),
    };
    let outcome = match Cli::from_arg_matches(&matches) {
        Ok(cli) => dispatch(cli.command, &matches).await,
        Err(error) => return usage(&error),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => fail(&failure),
    }
}

async fn dispatch(command: Command, matches: &clap::ArgMatches) -> Result<ExitCode, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    if let Command::Completions { shell } = command {
        clap_complete::generate(shell, &mut Cli::command(), "latchkey", &mut std::io::stdout());
        return Ok(ExitCode::SUCCESS);
    }
    environment::unknown_names(&serve_command(), std::env::vars_os())?;
    match command {
        Command::Serve(config) => {
            telemetry::start(&config.log)?;
            serve::run(&config, clock).await
        }
        Command::Config(config) => config::run(&config, matches),
        Command::Doctor(config) => doctor::run(&config, clock.as_ref()).await,
        Command::Migrate(arguments) => migrate::run(arguments).await,
        Command::Users(arguments) => users::run(arguments, clock).await,
        Command::Keys(arguments) => keys::run(&arguments, clock.as_ref()),
        Command::Sessions(arguments) => sessions::run(arguments, clock).await,
        Command::FlushExpired(arguments) => flush_expired::run(&arguments, clock).await,
        Command::Completions { .. } => Ok(ExitCode::SUCCESS),
    }
}

/// The command whose settings are all settings.
fn serve_command() -> clap::Command {
    let cli = Cli::command();
    cli.find_subcommand("serve").cloned().unwrap_or_default()
}

/// A `.env` file that is there must be right; none is fine.
fn load_dotenv() -> Result<(), Failure> {
    match dotenvy::dotenv() {
        Ok(_) => Ok(()),
        Err(error) if error.not_found() => Ok(()),
        Err(dotenvy::Error::LineParse(_, at)) => Err(Failure::Config(format!(
            ".env cannot be read from character {at} of a line on: expected NAME=value lines"
        ))),
        Err(error) => Err(Failure::Config(format!(".env cannot be read ({error}): expected NAME=value lines"))),
    }
}

/// Wrong values in one line of ours; help, versions and unknown flags as clap says them.
fn usage(error: &clap::Error) -> ExitCode {
    if let Some(wrong) = environment::value_error(&serve_command(), error) {
        return fail(&Failure::Config(wrong.to_string()));
    }
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn fail(failure: &Failure) -> ExitCode {
    let (text, code) = match failure {
        Failure::Failed(text) => (text, 1),
        Failure::Config(text) => (text, 2),
    };
    output::error(text);
    ExitCode::from(code)
}

/// The settings of password hashing, for commands that do not list them among their flags.
fn passwords() -> Result<PasswordsConfig, Failure> {
    from_environment::<PasswordsConfig>()
}

/// The settings of the log, likewise.
fn log() -> Result<LogConfig, Failure> {
    from_environment::<LogConfig>()
}

fn from_environment<T: Args>() -> Result<T, Failure> {
    let command = T::augment_args(clap::Command::new("latchkey").no_binary_name(true));
    let wrong = |error: clap::Error| match environment::value_error(&command, &error) {
        Some(wrong) => Failure::Config(wrong.to_string()),
        None => Failure::Config(error.to_string().lines().next().unwrap_or_default().to_owned()),
    };
    let matches = command.clone().try_get_matches_from(std::iter::empty::<OsString>()).map_err(wrong)?;
    T::from_arg_matches(&matches).map_err(|error| Failure::Config(error.to_string()))
}
