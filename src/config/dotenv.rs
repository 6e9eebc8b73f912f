//! The `.env` file of the working directory.
//!
//! Other programs and users can often write to the working directory. So the file can set only Latchkey's settings. It
//! must belong to root or to the user of the process, and no other user may be able to write to it.

use std::{collections::HashSet, env, path::Path};

use super::ConfigError;
use crate::files::{self, FileError};

const FILE: &str = ".env";
const RIGHT: &str = "NAME=value lines";

/// The size limit of the file. All settings with long values take less.
const LIMIT: u64 = 64 * 1024;

/// The settings that were taken from the file.
#[derive(Debug, Default)]
pub struct Dotenv {
    /// Settings that the file added to the environment.
    pub taken: HashSet<String>,
    /// Names in the file that are not settings, in the order of the file.
    pub ignored: Vec<String>,
}

impl Dotenv {
    /// Returns a line about the settings that the file added, if it added any.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        (!self.taken.is_empty()).then(|| format!("settings from {FILE}: {}", self.names()))
    }

    /// Returns a warning about names in the file that are not settings, if there are any.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let names = self.ignored.join(", ");
        (!self.ignored.is_empty()).then(|| format!("ignored in {FILE}, because they are not settings: {names}"))
    }

    /// Returns the names of the settings that the file added, sorted.
    #[must_use]
    pub fn names(&self) -> String {
        let mut names: Vec<_> = self.taken.iter().map(String::as_str).collect();
        names.sort_unstable();
        names.join(", ")
    }
}

/// Adds the file's values of `settings` to the environment. A variable that is set already wins. Call it before other
/// threads start. A missing file is not an error.
///
/// # Errors
/// If the file cannot be read, is not trusted, or has a malformed line. The error has the number of the line, and never
/// its text, which may be a secret.
pub fn load(settings: &[String]) -> Result<Dotenv, ConfigError> {
    let bytes = match files::read_own(Path::new(FILE), LIMIT) {
        Err(error) if error.is_absent() => return Ok(Dotenv::default()),
        Err(error) => return Err(refused(&error)),
        Ok(bytes) => bytes,
    };
    let text = files::text(&bytes).map_err(|error| refused(&error))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut found = Dotenv::default();
    let mut accepted = String::new();
    for pair in dotenvy::from_read_iter(text.as_bytes()) {
        let (name, value) = pair.map_err(|error| unreadable(&error, text))?;
        // A misspelt setting is added as well, and refused like one in the environment.
        if !settings.contains(&name) && !name.starts_with("LATCHKEY_") {
            if !found.ignored.contains(&name) {
                found.ignored.push(name);
            }
        } else if env::var_os(&name).is_none() && found.taken.insert(name.clone()) {
            accepted.push_str(&line(&name, &value));
        }
    }
    // Only dotenvy can change the environment here: the standard library's function is unsafe.
    dotenvy::from_read(accepted.as_bytes()).map_err(|error| unreadable(&error, text))?;
    Ok(found)
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
        FileError::WritableByOthers(_) | FileError::Foreign(_) => "a file that only you or root can write",
        FileError::TooLong(_) | FileError::NotRegular => "a small file of NAME=value lines, or none",
        FileError::Io(_) | FileError::NotText => RIGHT,
    };
    ConfigError::new(FILE, &error.to_string(), right)
}

fn unreadable(error: &dotenvy::Error, text: &str) -> ConfigError {
    let dotenvy::Error::LineParse(line, _) = error else {
        return ConfigError::new(FILE, "cannot be read", RIGHT);
    };
    let number = text.lines().position(|candidate| line.lines().next() == Some(candidate));
    let place = number.map_or_else(|| "a line".to_owned(), |index| format!("line {}", index + 1));
    ConfigError::new(FILE, &format!("cannot be read at {place}"), RIGHT)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::line;

    proptest! {
        #[test]
        fn every_value_is_read_back_from_a_file(value in "[^\\r\\x00]{0,40}", rest in "[a-z. ]{0,20}") {
            let text = format!("{}  # {rest}\nNEXT=1\n", line("NAME", &value).trim_end_matches('\n'));
            let pairs: Vec<_> = dotenvy::from_read_iter(text.as_bytes()).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(pairs, [("NAME".to_owned(), value), ("NEXT".to_owned(), "1".to_owned())]);
        }
    }
}
