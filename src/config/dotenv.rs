//! The `.env` file of the working directory.

use std::{collections::HashSet, env, fs, path::Path};

use super::ConfigError;

const FILE: &str = ".env";
const RIGHT: &str = "NAME=value lines";

/// Adds the file's values to the environment, where a name that is set already wins, and says which names it added.
/// Call it before there are other threads. A file that is there must be right; none is fine.
///
/// # Errors
/// When the file cannot be read, with the number of the line that is wrong. What the line holds is not told: it may be
/// a secret.
pub fn load() -> Result<HashSet<String>, ConfigError> {
    let wrong = |error: dotenvy::Error| match error {
        dotenvy::Error::LineParse(line, _) => {
            let number = fs::read_to_string(FILE)
                .ok()
                .and_then(|text| text.lines().position(|candidate| line.lines().next() == Some(candidate)));
            let place = number.map_or_else(|| "a line".to_owned(), |index| format!("line {}", index + 1));
            ConfigError::new(FILE, &format!("cannot be read at {place}"), RIGHT)
        }
        error => ConfigError::new(FILE, &format!("cannot be read ({error})"), RIGHT),
    };
    if !Path::new(FILE).exists() {
        return Ok(HashSet::new());
    }
    let mut added = HashSet::new();
    for pair in dotenvy::from_path_iter(FILE).map_err(wrong)? {
        let (name, _) = pair.map_err(wrong)?;
        if env::var_os(&name).is_none() {
            added.insert(name);
        }
    }
    dotenvy::from_path(FILE).map_err(wrong)?;
    Ok(added)
}
