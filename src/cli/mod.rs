//! The command line: arguments in, lines and an exit code out. 0: done. 1: it failed or was refused, and a sentence on
//! standard error says why. 2: the arguments or the settings are wrong, in one line.

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
mod reference;
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
    domain::{keys::saturating_add, time::Moment},
    ports::{Clock, clock::SystemClock},
    telemetry,
};

/// A JWT access and refresh token service with the wire of Django's simplejwt.
#[derive(Debug, Parser)]
#[command(
    name = "latchkey",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Start with `latchkey serve`. Every setting is a flag, an environment variable, or a line in the file .env of the\nworking directory; `latchkey serve --help` lists them."
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
    /// Show, make, revoke, import and encrypt signing keys
    Keys(Box<keys::KeysArgs>),
    /// Show a user's sessions, or end them
    Sessions(sessions::SessionsArgs),
    /// Show what happened: sign-ins, refusals, revocations, and who did it from where
    Audit(audit::AuditArgs),
    /// Show what happened to a user, a session (sid) or a token (jti), in sentences
    Why(why::WhyArgs),
    /// Remove sessions whose tokens have all expired (simplejwt's flushexpiredtokens) and audit events past their
    /// retention; the server also does it hourly
    FlushExpired(flush_expired::FlushExpiredArgs),
    /// Look at configuration, keys, database, migrations, Redis and clock, and change nothing
    Doctor(Box<Config>),
    /// Print a reference: the settings or the commands as Markdown, or a man page
    Reference {
        /// What to print
        page: reference::Page,
    },
    /// Ask the server on this machine whether it is ready; exit code 1 when it is not
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Print the OpenAPI document
    Openapi,
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

    /// Names the database that was changed.
    fn changed(&self) -> Result<(), Failure> {
        changed(&self.database)
    }

    /// Names the time up to which offline verifiers may accept access tokens that were revoked, and the database.
    fn revoked(&self, now: Moment) -> Result<(), Failure> {
        let life = self.lifetimes.access();
        output::line(&format!(
            "verifiers that work offline may accept access tokens from before until {} (LATCHKEY_ACCESS_TOKEN_LIFETIME is {} here)",
            saturating_add(now, life).format("%F %T UTC"),
            humantime::format_duration(self.lifetimes.access_token_lifetime),
        ));
        self.changed()
    }
}

/// Names the database that a command changed. The URL is shown without its password.
fn changed(database: &DatabaseConfig) -> Result<(), Failure> {
    output::line(&format!("database: {}", database.existing()?));
    Ok(())
}

/// Reads `.env`, the arguments and the environment, and does what they say.
#[must_use]
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    hardening::forbid_core_dumps();
    output::choose_form(&arguments);
    // The environment may only change while there is one thread.
    let dotenv = match dotenv::load(&environment::names(&all_settings())) {
        Ok(dotenv) => dotenv,
        Err(error) => return fail(&error.into()),
    };
    // The file may name the form as well.
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
    // Requests run on the web server's own threads, which drive connections of their own. Those of this runtime do what is left:
    // on half of the cores they find more to do each time that they wake, and wake each other less.
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
        // Into memory first: clap_complete panics when its reader goes away.
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut program(), "latchkey", &mut script);
        output::bytes(&script);
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Reference { page } = command {
        output::bytes(&reference::page(page, program())?);
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
    // The log is flushed first, so that the error comes last.
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
        Command::Completions { .. } | Command::Openapi | Command::Reference { .. } => {
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Logs the names in a `.env` file as events: a server's log is read by programs.
fn log_dotenv(dotenv: &Dotenv) {
    if !dotenv.ignored.is_empty() {
        tracing::warn!(
            names = dotenv.ignored.join(", "),
            "names in .env ignored: not settings"
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

/// The command line, with its help in order.
fn program() -> clap::Command {
    layout::arrange(Cli::command())
}

/// The command whose settings are all settings of the server.
fn serve_command() -> clap::Command {
    let cli = Cli::command();
    cli.find_subcommand("serve").cloned().unwrap_or_default()
}

/// All settings: those of the server, and those that only other commands have.
fn all_settings() -> clap::Command {
    OperatorArgs::augment_args(serve_command())
}

/// The settings of password hashing, for commands that do not list them among their flags.
fn passwords() -> Result<PasswordsConfig, Failure> {
    from_environment(&PasswordsConfig::augment_args(bare_command()))
}

/// The log of commands that do one thing: warnings only, unless it is told otherwise.
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
