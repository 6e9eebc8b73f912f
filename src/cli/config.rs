//! `latchkey config`.

use std::{collections::HashSet, process::ExitCode};

use clap::{ArgMatches, parser::ValueSource};

use super::{Failure, output, serve_command};
use crate::config::{Config, dotenv};
use latchkey_store::sql::DatabaseUrl;

/// Prints one `NAME=value` line for each setting, in `.env` syntax, with the source of the value.
///
/// An unset setting is a comment with the value in effect. A setting that holds a secret is a
/// comment without it. Invalid or conflicting settings are an error, as for `serve`.
pub(super) fn run(
    config: &Config,
    matches: &ArgMatches,
    dotenv: &HashSet<String>,
) -> Result<ExitCode, Failure> {
    config.check()?;
    let Some((_, values)) = matches.subcommand() else {
        return Ok(ExitCode::SUCCESS);
    };
    for argument in serve_command().get_arguments() {
        let Some(name) = argument.get_env().and_then(|name| name.to_str()) else {
            continue;
        };
        let id = argument.get_id().as_str();
        let given = values.get_raw(id).map(|values| {
            values
                .map(|value| value.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .join(",")
        });
        let in_force = match name {
            "DATABASE_URL" => match (config.database.url()?, &given) {
                // An SQLite URL holds no secret, and needs its parameter.
                (DatabaseUrl::Sqlite(_), Some(given)) => Some(given.clone()),
                (url, _) => Some(url.to_string()),
            },
            "REDIS_URL" => config.redis.url()?.map(|url| url.to_string()),
            "LATCHKEY_REDIS_SENTINELS" => config.redis.sentinels()?.map(|url| url.to_string()),
            "LATCHKEY_ISSUER" => Some(config.issuer()?),
            _ => given.clone(),
        };
        let source = match values.value_source(id) {
            Some(ValueSource::CommandLine) => "flag",
            Some(ValueSource::EnvVariable) if dotenv.contains(name) => ".env",
            Some(ValueSource::EnvVariable) => "environment",
            _ => "default",
        };
        output::lines(&match (given, in_force) {
            // URL parameters are never shown, so the shown URL may not be equivalent.
            (Some(given), Some(shown)) if given != shown || given.contains(unwritable) => {
                format!(
                    "# {name} is set, and shown without its secret: {}  # {source}",
                    comment(&shown)
                )
            }
            (Some(_), Some(value)) => {
                format!("{}  # {source}", dotenv::line(name, &value).trim_end())
            }
            (None, Some(value)) => format!("# {name} is not set: {} is used", comment(&value)),
            (_, None) => format!("# {name} is not set"),
        });
    }
    Ok(ExitCode::SUCCESS)
}

/// True for a character that a `.env` file cannot escape.
fn unwritable(c: char) -> bool {
    c.is_control() && c != '\n'
}

/// Replaces control characters. A line break would end the comment.
fn comment(text: &str) -> String {
    text.replace(char::is_control, "?")
}
