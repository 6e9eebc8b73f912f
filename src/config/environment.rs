//! Environment: unknown names, secrets in files, and errors in one line.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    path::Path,
};

use clap::{
    Command,
    error::{ContextKind, ContextValue, ErrorKind},
};
use secrecy::SecretString;

use latchkey_files as files;

/// Variables of `docker-compose.yml` that are not settings of the program. Compose reads them from
/// the environment and from the same `.env` file.
const COMPOSE: [&str; 1] = ["LATCHKEY_PORT"];

/// Invalid setting: its name, the fault and the remedy, in one line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    name: String,
    wrong: String,
    right: String,
}

impl ConfigError {
    /// Creates an error that reads "NAME wrong: expected right".
    #[must_use]
    pub fn new(name: &str, wrong: &str, right: &str) -> Self {
        let right = right.strip_prefix("expected ").unwrap_or(right);
        Self {
            name: name.to_owned(),
            wrong: one_line(wrong),
            right: one_line(right),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: expected {}", self.name, self.wrong, self.right)
    }
}

impl std::error::Error for ConfigError {}

/// Returns a secret from a setting, or from the file that a second setting names, as Compose and
/// systemd pass secrets.
pub(super) fn secret(
    name: &str,
    given: Option<&SecretString>,
    file: Option<&Path>,
) -> Result<Option<SecretString>, ConfigError> {
    match (given, file) {
        (Some(_), Some(_)) => Err(ConfigError::new(
            name,
            &format!("is set, and so is {name}_FILE"),
            "one of the two",
        )),
        (Some(secret), None) => Ok(Some(secret.clone())),
        (None, None) => Ok(None),
        (None, Some(path)) => {
            let read = files::read_protected(path, files::SECRET_LIMIT)
                .and_then(|bytes| files::text(&bytes));
            match read {
                Ok(text) if text.trim().is_empty() => Err(ConfigError::new(
                    &format!("{name}_FILE"),
                    &format!("names {}, which is empty", shown_path(path)),
                    "a file with the secret in it",
                )),
                // A URL has no white space at its ends, but editors and `echo` add some.
                Ok(text) => Ok(Some(text.trim().to_owned().into())),
                Err(error) => Err(ConfigError::new(
                    &format!("{name}_FILE"),
                    &format!("names {}, which {error}", shown_path(path)),
                    "a file with the secret in it",
                )),
            }
        }
    }
}

/// Returns a path for an error. A URL in place of a path often holds a password.
pub(super) fn shown_path(path: &Path) -> String {
    shown_value(&path.to_string_lossy())
}

/// Returns a value for an error: only the scheme of a URL, and nothing of a value that may hold a
/// password.
fn shown_value(value: &str) -> String {
    match value.split_once("://") {
        Some((scheme, _))
            if scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) =>
        {
            format!("{scheme}://***")
        }
        None if !value.contains('@') && !value.contains("password=") => value.to_owned(),
        Some(_) | None => "***".to_owned(),
    }
}

/// Refuses `LATCHKEY_*` variables that are not settings, such as misspelt ones.
///
/// # Errors
/// The first such name, with the most similar setting.
pub fn unknown_names(
    command: &Command,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(), ConfigError> {
    let known = names(command);
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with("LATCHKEY_")) else {
            continue;
        };
        if value.is_empty() || of_compose(name).is_some() {
            continue;
        }
        if known.iter().any(|known| known == name)
            || is_service_link(name, value.to_str().unwrap_or_default())
        {
            continue;
        }
        let nearest = known
            .iter()
            .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)))
            .cloned()
            .unwrap_or_default();
        return Err(ConfigError::new(
            name,
            "is not a setting",
            &format!("a name from `latchkey serve --help`; the nearest is {nearest}"),
        ));
    }
    Ok(())
}

/// True if Kubernetes (or Docker's old links) may have set the variable. In a namespace with a
/// service `latchkey` or `latchkey-NAME`, the environment of every pod holds its address.
fn is_service_link(name: &str, value: &str) -> bool {
    let port = name.contains("_SERVICE_PORT") && value.bytes().all(|byte| byte.is_ascii_digit());
    let link = name.contains("_PORT")
        && ["tcp://", "udp://", "sctp://"]
            .iter()
            .any(|scheme| value.starts_with(scheme));
    let of_link = ["_TCP_", "_UDP_", "_SCTP_"]
        .iter()
        .any(|protocol| name.contains(protocol))
        && ["_ADDR", "_PORT", "_PROTO"]
            .iter()
            .any(|end| name.ends_with(end));
    name.ends_with("_SERVICE_HOST") || port || link || of_link
}

/// Returns the name if it is that of a variable that only `docker-compose.yml` uses.
#[must_use]
pub fn of_compose(name: &str) -> Option<&'static str> {
    COMPOSE.into_iter().find(|known| *known == name)
}

/// Returns the names of variables in the environment that only `docker-compose.yml` uses.
pub fn names_of_compose() -> impl Iterator<Item = &'static str> {
    COMPOSE.into_iter().filter(|name| {
        let value = std::env::var_os(name).unwrap_or_default();
        !value.is_empty() && !is_service_link(name, &value.to_string_lossy())
    })
}

/// Returns the command, in which an empty variable counts as unset: Compose and CI systems cannot
/// leave out a variable.
#[must_use]
pub fn without_empty(command: Command) -> Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    command
        .mut_args(|argument| match argument.get_env() {
            Some(name) if is_empty(name) => argument.env(None::<&'static str>),
            _ => argument,
        })
        .mut_subcommands(without_empty)
}

/// Returns the names of a command's settings whose variables are empty.
#[must_use]
pub fn empty_names(command: &Command) -> Vec<String> {
    names(command)
        .into_iter()
        .filter(|name| std::env::var_os(name).is_some_and(|value| value.is_empty()))
        .collect()
}

/// Returns the names of the variables of a command's settings.
#[must_use]
pub fn names(command: &Command) -> Vec<String> {
    command
        .get_arguments()
        .filter_map(|argument| argument.get_env()?.to_str().map(ToOwned::to_owned))
        .collect()
}

/// Converts clap's error about a value to one line that names the variable. Returns `None` for any
/// other error, such as an unknown flag or a request for help.
#[must_use]
pub fn value_error(command: &Command, error: &clap::Error) -> Option<ConfigError> {
    match error.kind() {
        ErrorKind::InvalidUtf8 => return not_unicode(command),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {}
        _ => return None,
    }
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let argument = text(ContextKind::InvalidArg)?;
    // "--bind <ADDRESS:PORT>", or "<USERNAME>" alone.
    let given = argument.split(' ').next()?;
    let setting = given.strip_prefix("--").and_then(|flag| {
        command
            .get_arguments()
            .find(|known| known.get_long() == Some(flag))
    });
    let name = setting
        .and_then(|setting| setting.get_env()?.to_str())
        .map_or_else(
            || given.to_owned(),
            |variable| format!("{variable} ({given})"),
        );
    let value = shown_value(&text(ContextKind::InvalidValue).unwrap_or_default());
    let right = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => {
            format!("one of {}", values.join(", "))
        }
        // clap refuses an empty path before its parser runs, so there is no source.
        _ => std::error::Error::source(error)
            .map_or_else(|| "a value, or none set".to_owned(), ToString::to_string),
    };
    Some(ConfigError::new(
        &name,
        &format!("is {value:?}, which is not valid"),
        &right,
    ))
}

/// Finds the variable that is not UTF-8. clap's error does not name it.
fn not_unicode(command: &Command) -> Option<ConfigError> {
    let unreadable =
        |name: &String| std::env::var_os(name).is_some_and(|value| value.to_str().is_none());
    let name = names(command).into_iter().find(unreadable)?;
    Some(ConfigError::new(
        &name,
        "holds bytes that are not UTF-8",
        "text in UTF-8",
    ))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
