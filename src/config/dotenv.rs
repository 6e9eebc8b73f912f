//! The `.env` file of the working directory.
//!
//! A service is often started in a directory that other programs and other users write to as well. So the file may only set
//! settings of ours, and only root or the user of the process may have written it.

use std::{collections::HashSet, env, path::Path};

use super::ConfigError;
use crate::files::{self, FileError};

const FILE: &str = ".env";
const RIGHT: &str = "NAME=value lines";

/// The longest file: more than all settings with long values take.
const LIMIT: u64 = 64 * 1024;

/// The settings that were taken from the file.
#[derive(Debug, Default)]
pub struct Dotenv {
    /// Settings that the file added to the environment.
    pub taken: HashSet<String>,
    /// Names in the file that are no settings, in the order of the file.
    pub ignored: Vec<String>,
}

impl Dotenv {
    /// Returns a line about the settings that the file added, if it added any.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        (!self.taken.is_empty()).then(|| format!("settings from {FILE}: {}", self.names()))
    }

    /// Returns a warning about names in the file that are no settings, if there are any.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let names = self.ignored.join(", ");
        (!self.ignored.is_empty()).then(|| format!("ignored in {FILE}, because they are no settings: {names}"))
    }

    /// The names of the settings that the file added, sorted.
    #[must_use]
    pub fn names(&self) -> String {
        let mut names: Vec<_> = self.taken.iter().map(String::as_str).collect();
        names.sort_unstable();
        names.join(", ")
    }
}

/// Adds the file's values of `settings` to the environment, where a name that is set already wins. Call it before there are
/// other threads. A file that is there must be right; none is fine.
///
/// # Errors
/// When the file cannot be read or is not to be trusted, or with the number of the line that is wrong. The error never holds
/// the line, which may be a secret.
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
        // A misspelt setting goes on as it came, and is refused like one in the environment.
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

/// A line that is read back as exactly this value.
#[must_use]
pub fn line(name: &str, value: &str) -> String {
    format!("{name}={}\n", quoted(value))
}

/// A value as a `.env` file holds it: as it is, or in double quotes with everything escaped that means something there.
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
        fn every_value_survives_the_way_through_a_file(value in "[^\\r\\x00]{0,40}", rest in "[a-z. ]{0,20}") {
            let text = format!("{}  # {rest}\nNEXT=1\n", line("NAME", &value).trim_end_matches('\n'));
            let pairs: Vec<_> = dotenvy::from_read_iter(text.as_bytes()).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(pairs, [("NAME".to_owned(), value), ("NEXT".to_owned(), "1".to_owned())]);
        }
    }
}
