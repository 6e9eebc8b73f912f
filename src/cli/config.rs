//! `latchkey config`.

use std::{collections::HashSet, process::ExitCode};

use clap::{ArgMatches, parser::ValueSource};

use super::{Failure, output, serve_command};
use crate::{
    config::{Config, dotenv},
    store::sql::DatabaseUrl,
};

/// One `NAME=value` line a setting, as a `.env` file would have it, with where the value is from. A comment stands where nothing
/// is set, with what is used instead, and where the value holds a secret. Settings that contradict each other are an error, as
/// they are for `serve`.
pub(super) fn run(config: &Config, matches: &ArgMatches, dotenv: &HashSet<String>) -> Result<ExitCode, Failure> {
    config.check()?;
    let Some((_, values)) = matches.subcommand() else { return Ok(ExitCode::SUCCESS) };
    for argument in serve_command().get_arguments() {
        let Some(name) = argument.get_env().and_then(|name| name.to_str()) else { continue };
        let id = argument.get_id().as_str();
        let given = values
            .get_raw(id)
            .map(|values| values.map(|value| value.to_string_lossy().into_owned()).collect::<Vec<_>>().join(","));
        let in_force = match name {
            "DATABASE_URL" => match (config.database.url()?, &given) {
                // There is no secret in it, and the parameter belongs to it.
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
            // Parameters of a URL are never shown, so what is shown may mean something else.
            (Some(given), Some(shown)) if given != shown || given.contains(unwritable) => {
                format!("# {name} is set, and not repeated here: {}  # {source}", comment(&shown))
            }
            (Some(_), Some(value)) => format!("{}  # {source}", dotenv::line(name, &value).trim_end()),
            (None, Some(value)) => format!("# {name} is not set: {} is used", comment(&value)),
            (_, None) => format!("# {name} is not set"),
        });
    }
    Ok(ExitCode::SUCCESS)
}

/// A character that a `.env` file cannot escape.
fn unwritable(c: char) -> bool {
    c.is_control() && c != '\n'
}

/// A comment ends at the end of its line.
fn comment(text: &str) -> String {
    text.replace(char::is_control, "?")
}
