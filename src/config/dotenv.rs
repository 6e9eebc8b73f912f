//! `.env` file of the working directory.
//!
//! Other programs and users can often write to the working directory. So the file can set only
//! Latchkey's settings. It must belong to root or to the user of the process, and no other user may
//! be able to write to it. Other programs read the same file, so their lines are skipped.

use std::{collections::HashSet, env, path::Path};

use super::{
    ConfigError,
    dotenv_lines::{self, Entry, Problem, Value},
    environment,
};
use latchkey_files as files;
use latchkey_files::FileError;

const FILE: &str = ".env";

/// Maximum size of the file. All settings with long values need less.
const MAX_SIZE: u64 = 64 * 1024;

/// Settings of the file, and remarks about its lines.
#[derive(Debug, Default)]
pub struct Dotenv {
    /// Settings that the file added to the environment.
    pub taken: HashSet<String>,
    /// Names in the file that are not settings, in the order of the file.
    pub ignored: Vec<String>,
    /// First setting that cannot be read. The settings of other lines are added to the environment
    /// all the same.
    pub wrong: Option<ConfigError>,
    empty: Vec<String>,
    of_compose: Vec<&'static str>,
    remarks: Vec<String>,
}

impl Dotenv {
    /// Returns a line about the settings that the file added, if it added any.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        (!self.taken.is_empty()).then(|| format!("settings from {FILE}: {}", self.names()))
    }

    /// Returns warnings about names in the file that are not settings, and about lines without
    /// effect.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let names = self.ignored.join(", ");
        let ignored = (!self.ignored.is_empty())
            .then(|| format!("ignored in {FILE}, because they are not settings: {names}"));
        self.remarks.iter().cloned().chain(ignored).collect()
    }

    /// Returns the remarks about lines that have no effect.
    pub fn remarks(&self) -> impl Iterator<Item = &str> {
        self.remarks.iter().map(String::as_str)
    }

    /// Returns the settings that are empty in the file.
    pub fn empty(&self) -> impl Iterator<Item = &String> {
        self.empty.iter()
    }

    /// Returns the names in the file that only `docker-compose.yml` uses.
    pub fn of_compose(&self) -> impl Iterator<Item = &'static str> {
        self.of_compose.iter().copied()
    }

    /// Returns the names of the settings that the file added, sorted.
    #[must_use]
    pub fn names(&self) -> String {
        let mut names: Vec<_> = self.taken.iter().map(String::as_str).collect();
        names.sort_unstable();
        names.join(", ")
    }
}

/// Adds the file's values of `settings` to the environment.
///
/// A variable that is set already takes precedence, unless it is empty. If several lines have the
/// same name, the last one counts. A missing file is not an error. It must be called before other
/// threads start.
///
/// # Errors
/// If the file cannot be read or is not trusted.
pub fn load(settings: &[String]) -> Result<Dotenv, ConfigError> {
    let bytes = match files::read_own(Path::new(FILE), MAX_SIZE) {
        Err(error) if error.is_absent() => return Ok(Dotenv::default()),
        Err(error) => return Err(refused(&error)),
        Ok(bytes) => files::without_mark(bytes),
    };
    // A misspelt setting is added as well, so that it is refused like one in the environment.
    let is_setting = |name: &str| {
        settings.iter().any(|known| known == name)
            || (name.starts_with("LATCHKEY_") && environment::of_compose(name).is_none())
    };
    let (mut found, mut values) = (Dotenv::default(), Vec::<(String, usize, String)>::new());
    for entry in dotenv_lines::entries(&bytes, is_setting) {
        match entry {
            Entry::Foreign(name) => match environment::of_compose(&name) {
                Some(name) => found.of_compose.push(name),
                None if found.ignored.contains(&name) => {}
                None => found.ignored.push(name),
            },
            Entry::Hidden(number, name) => found.remarks.push(format!(
                "line {number} of {FILE} sets {name} inside the quoted value of another line, so it is ignored"
            )),
            Entry::Setting { number, name, value } => match value.and_then(|value| decoded(&name, &value)) {
                Err(problem) => {
                    found.wrong.get_or_insert_with(|| malformed(number, &name, problem));
                }
                Ok(value) => found.set(&mut values, name, number, value),
            },
        }
    }
    found.empty = values
        .iter()
        .filter(|(.., value)| value.is_empty())
        .map(|(name, ..)| name.clone())
        .collect();
    let accepted: String = values
        .into_iter()
        .filter(|(name, _, value)| {
            !value.is_empty() && env::var_os(name).is_none_or(|set| set.is_empty())
        })
        .map(|(name, _, value)| {
            let line = line(&name, &value);
            found.taken.insert(name);
            line
        })
        .collect();
    // The standard library's function is unsafe, so dotenvy changes the environment.
    if dotenvy::from_read_override(accepted.as_bytes()).is_err() {
        return Err(ConfigError::new(FILE, "cannot be read", "NAME=value lines"));
    }
    Ok(found)
}

impl Dotenv {
    fn set(
        &mut self,
        values: &mut Vec<(String, usize, String)>,
        name: String,
        number: usize,
        value: String,
    ) {
        let Some((_, before, known)) = values.iter_mut().find(|(known, ..)| *known == name) else {
            return values.push((name, number, value));
        };
        if *known != value {
            self.remarks.push(format!(
                "{FILE} sets {name} on line {before} and on line {number}: the last one counts"
            ));
        }
        (*before, *known) = (number, value);
    }
}

/// Returns the value as dotenvy reads it.
fn decoded(name: &str, value: &Value) -> Result<String, Problem> {
    let text = match value {
        Value::Plain(text) => return Ok(text.clone()),
        Value::Quoted(text) => format!("{name}={text}\n"),
    };
    match dotenvy::from_read_iter(text.as_bytes()).next() {
        Some(Ok((_, value))) if !value.contains('\0') => Ok(value),
        _ => Err(Problem::Escape),
    }
}

/// Returns a line that parses to exactly this value.
#[must_use]
pub fn line(name: &str, value: &str) -> String {
    format!("{name}={}\n", quoted(value))
}

/// Returns a value in `.env` syntax: as it is, or in double quotes with special characters escaped.
#[must_use]
pub fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_?&*".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for c in value.chars() {
        match c {
            '\n' => text.push_str("\\n"),
            '\\' | '"' | '$' => text.extend(['\\', c]),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

fn refused(error: &FileError) -> ConfigError {
    let right = match error {
        FileError::WritableByOthers(_) | FileError::WritableMount(_) | FileError::Foreign(_) => {
            "a file that only you or root can write"
        }
        FileError::TooLong(_) | FileError::NotRegular => {
            "a small file of NAME=value lines, or none"
        }
        FileError::Io(_) | FileError::NotText => "NAME=value lines",
    };
    ConfigError::new(FILE, &error.to_string(), right)
}

/// Creates the error about a line. The text of the line may be a secret, so it is not shown.
fn malformed(number: usize, name: &str, problem: Problem) -> ConfigError {
    let (wrong, right) = problem.texts();
    ConfigError::new(
        FILE,
        &format!("cannot be read at line {number}: {name} {wrong}"),
        right,
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::line;

    proptest! {
        #[test]
        fn line_of_any_value_parses_to_the_value(value in "[^\\r\\x00]{0,40}", comment in "[a-z. ]{0,20}") {
            let text = format!("{}  # {comment}\nNEXT=1\n", line("NAME", &value).trim_end_matches('\n'));
            let pairs: Vec<_> = dotenvy::from_read_iter(text.as_bytes()).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(pairs, [("NAME".to_owned(), value), ("NEXT".to_owned(), "1".to_owned())]);
        }
    }
}
