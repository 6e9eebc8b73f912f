//! Command line.
//!
//! Exit codes: 0 for success; 1 for a failure or a refusal, with a message on standard error; 2 for
//! invalid arguments or settings, with a message of one line.

mod actor;
mod audit;
mod config;
mod doctor;
mod failure;
mod flush_expired;
mod hardening;
mod healthcheck;
mod keys;
mod layout;
mod migrate;
mod openapi;
mod output;
mod serve;
mod sessions;
mod users;
mod why;

use std::{ffi::OsString, process::ExitCode, sync::Arc};

use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;

use self::{
    actor::OperatorArgs,
    failure::{Failure, fail, usage},
};
use crate::{
    app::operator::OperatorConfig,
    config::{
        AuditConfig, Config, DatabaseConfig, LifetimesConfig, LogConfig, PasswordsConfig,
        RedisConfig,
        dotenv::{self, Dotenv},
        environment,
    },
    telemetry,
};
use latchkey_domain::{
    keys::saturating_add,
    ports::{Clock, clock::SystemClock},
    time::Moment,
};

/// A JWT access and refresh token service with the API of Django's simplejwt
#[derive(Debug, Parser)]
#[command(
    name = "latchkey",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Start with `latchkey serve`. Each setting is a flag, an environment variable, or a line in the file .env of the working directory; `latchkey serve --help` lists them."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server; without settings, on an embedded database
    Serve(Box<Config>),
    /// Print the settings in effect, with secrets hidden
    Config(Box<Config>),
    /// Migrate the database, or show its migrations
    Migrate(migrate::MigrateArgs),
    /// Create, show, change and delete users
    Users(users::UsersArgs),
    /// List, rotate, revoke, import, export and encrypt signing keys
    Keys(Box<keys::KeysArgs>),
    /// List or revoke sessions
    Sessions(sessions::SessionsArgs),
    /// List audit events: sign-ins, refusals, revocations and changes of keys, with actor and
    /// address
    Audit(audit::AuditArgs),
    /// Explain the history of a user, a session (sid) or a token (jti)
    Why(why::WhyArgs),
    /// Remove expired sessions (simplejwt's flushexpiredtokens) and audit events past their
    /// retention; the server also does it hourly
    FlushExpired(flush_expired::FlushExpiredArgs),
    /// Check configuration, keys, database, migrations, Redis and clock, without changes
    Doctor(Box<Config>),
    /// Check that the server on this machine is ready; the exit code is 1 if it is not
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Print the OpenAPI document
    Openapi,
    /// Print a completion script for a shell
    Completions {
        /// Shell: bash, elvish, fish, powershell or zsh
        shell: Shell,
    },
}

/// Settings that commands other than `serve` share.
#[derive(Args, Clone, Debug)]
struct StoreArgs {
    #[command(flatten)]
    database: DatabaseConfig,
    #[command(flatten)]
    redis: RedisConfig,
    #[command(flatten)]
    lifetimes: LifetimesConfig,
    #[command(flatten)]
    audit: AuditConfig,
    #[command(flatten)]
    operator: OperatorArgs,
}

impl StoreArgs {
    fn operator(&self) -> OperatorConfig<'_> {
        let Self {
            database,
            redis,
            lifetimes,
            audit,
            operator,
        } = self;
        OperatorConfig {
            database,
            redis,
            lifetimes,
            audit,
            actor: operator.actor(),
        }
    }

    /// Prints the database that was changed.
    fn changed(&self) -> Result<(), Failure> {
        changed(&self.database)
    }

    /// Prints the time until which offline verifiers may accept the revoked access tokens, and the
    /// database.
    fn revoked(&self, now: Moment) -> Result<(), Failure> {
        let lifetime = self.lifetimes.access();
        output::line(&format!(
            "offline verifiers may accept earlier access tokens until {} (LATCHKEY_ACCESS_TOKEN_LIFETIME is {} here)",
            saturating_add(now, lifetime).format("%F %T UTC"),
            humantime::format_duration(self.lifetimes.access_token_lifetime),
        ));
        self.changed()
    }
}

/// Prints the database that a command changed. The URL is shown without its password.
fn changed(database: &DatabaseConfig) -> Result<(), Failure> {
    output::line(&format!("database: {}", database.existing()?));
    Ok(())
}

/// Runs the command in the arguments, with the settings of `.env` and the environment. Returns its
/// exit code.
#[must_use]
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    hardening::forbid_core_dumps();
    output::choose_form(&arguments);
    // The environment may change only while the process has one thread.
    let dotenv = match dotenv::load(&environment::names(&all_settings())) {
        Ok(dotenv) => dotenv,
        Err(error) => return fail(&error.into()),
    };
    // The file can set the log format as well.
    output::choose_form(&arguments);
    if let Some(wrong) = &dotenv.wrong {
        return fail(&wrong.clone().into());
    }
    let matches = match environment::without_empty(program()).try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return usage(&error),
    };
    let command = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli.command,
        Err(error) => return usage(&error),
    };
    // Requests run on the workers of the web server, which have their own runtimes and connections.
    // This runtime has the remaining work. With half as many threads as cores, each wake-up finds
    // more work, and the threads wake each other less.
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .div_ceil(2);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return fail(&Failure::Failed(format!(
                "threads could not be started: {error}"
            )));
        }
    };
    match runtime.block_on(dispatch(command, &matches, &dotenv)) {
        Ok(code) => code,
        Err(failure) => fail(&failure),
    }
}

async fn dispatch(
    command: Command,
    matches: &ArgMatches,
    dotenv: &Dotenv,
) -> Result<ExitCode, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    if let Command::Completions { shell } = command {
        // The script is generated in memory: clap_complete panics if standard output is closed.
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut program(), "latchkey", &mut script);
        output::bytes(&script);
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Openapi = command {
        return Ok(openapi::run());
    }
    environment::unknown_names(&all_settings(), std::env::vars_os())?;
    let log = if let Command::Serve(config) = &command {
        let log = telemetry::start(&config.log)?;
        log_dotenv(dotenv);
        log
    } else {
        let log = start_log()?;
        dotenv
            .warnings()
            .iter()
            .for_each(|line| output::warning(line));
        dotenv.notice().iter().for_each(|line| output::notice(line));
        log
    };
    log_empty(dotenv);
    let done = execute(command, matches, dotenv, clock).await;
    // The log is flushed before an error is printed, so that the error is the last line.
    output::with_retries(move || drop(log));
    done
}

async fn execute(
    command: Command,
    matches: &ArgMatches,
    dotenv: &Dotenv,
    clock: Arc<dyn Clock>,
) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve(config) => serve::run(&config, clock).await,
        Command::Config(config) => config::run(&config, matches, &dotenv.taken),
        Command::Doctor(config) => doctor::run(&config, clock).await,
        Command::Healthcheck(arguments) => healthcheck::run(&arguments),
        Command::Migrate(arguments) => migrate::run(arguments).await,
        Command::Users(arguments) => users::run(arguments, clock).await,
        Command::Keys(arguments) => keys::run(*arguments, clock).await,
        Command::Sessions(arguments) => sessions::run(arguments, clock).await,
        Command::Audit(arguments) => audit::run(arguments, clock).await,
        Command::Why(arguments) => why::run(&arguments, clock).await,
        Command::FlushExpired(arguments) => flush_expired::run(&arguments, clock).await,
        Command::Completions { .. } | Command::Openapi => Ok(ExitCode::SUCCESS),
    }
}

/// Logs the names in a `.env` file as events, because programs read the log of a server.
fn log_dotenv(dotenv: &Dotenv) {
    if !dotenv.ignored.is_empty() {
        tracing::warn!(
            names = dotenv.ignored.join(", "),
            "names in .env ignored, because they are not settings"
        );
    }
    if !dotenv.taken.is_empty() {
        tracing::info!(names = dotenv.names(), "settings read from .env");
    }
    for remark in dotenv.remarks() {
        tracing::warn!(remark, "line of .env ignored");
    }
    for name in environment::names_of_compose().chain(dotenv.of_compose()) {
        tracing::info!(
            name,
            "variable ignored: only docker-compose.yml uses it; set LATCHKEY_BIND for the address of the server"
        );
    }
}

fn log_empty(dotenv: &Dotenv) {
    let mut names = environment::empty_names(&all_settings());
    names.extend(dotenv.empty().cloned());
    if !names.is_empty() {
        tracing::debug!(names = names.join(", "), "empty variables ignored");
    }
}

/// Returns the command line, with its help arranged.
#[must_use]
pub fn program() -> clap::Command {
    layout::arrange(Cli::command())
}

/// Returns the command `serve`, which has all settings of the server.
fn serve_command() -> clap::Command {
    let cli = Cli::command();
    cli.find_subcommand("serve").cloned().unwrap_or_default()
}

/// Returns a command with all settings of the server and of other commands.
fn all_settings() -> clap::Command {
    OperatorArgs::augment_args(serve_command())
}

/// Returns the settings of password hashing, for commands that have no flags for them.
fn passwords() -> Result<PasswordsConfig, Failure> {
    from_environment(&PasswordsConfig::augment_args(bare_command()))
}

/// Starts the log of a command other than `serve`. Its default level is `warn`.
fn start_log() -> Result<telemetry::Log, Failure> {
    let command = LogConfig::augment_args(bare_command())
        .mut_arg("filter", |filter| filter.default_value("warn"));
    Ok(telemetry::start(&from_environment::<LogConfig>(&command)?)?)
}

fn bare_command() -> clap::Command {
    clap::Command::new("latchkey").no_binary_name(true)
}

fn from_environment<T: Args>(command: &clap::Command) -> Result<T, Failure> {
    let wrong = |error: clap::Error| match environment::value_error(command, &error) {
        Some(wrong) => Failure::Config(wrong.to_string()),
        None => Failure::Config(
            error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        ),
    };
    let matches = environment::without_empty(command.clone());
    let matches = matches
        .try_get_matches_from(std::iter::empty::<OsString>())
        .map_err(wrong)?;
    T::from_arg_matches(&matches).map_err(|error| Failure::Config(error.to_string()))
}
