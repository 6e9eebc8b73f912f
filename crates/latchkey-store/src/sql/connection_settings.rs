//! Settings of each Postgres connection: sent as a startup parameter, or as statements through a
//! pooler that drops it.

use std::{fmt::Write as _, time::Duration};

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};

use super::connect_error::{ConnectError, one_line};

/// Settings of each connection.
pub(super) struct Settings {
    milliseconds: u128,
    seconds: u64,
    /// The parameter `options` of the URL.
    given: Option<String>,
}

impl Settings {
    pub(super) fn new(timeout: Duration, given: Option<&str>) -> Self {
        Self {
            // The server cancels a little earlier than the client, so that a slow statement does
            // not outlive its request.
            milliseconds: timeout.as_millis() * 9 / 10,
            seconds: timeout.as_secs().max(1),
            given: given.map(str::to_owned),
        }
    }

    /// Returns the startup parameter `options`.
    pub(super) fn options(&self) -> String {
        let Self {
            milliseconds,
            seconds,
            given,
        } = self;
        // The server ends the transaction of a client that has disappeared, because it holds locks.
        let own = format!(
            "-c statement_timeout={milliseconds} -c lock_timeout={milliseconds} \
             -c idle_in_transaction_session_timeout={milliseconds} -c tcp_keepalives_idle={seconds} \
             -c tcp_keepalives_interval={seconds} -c tcp_keepalives_count=2"
        );
        given
            .as_ref()
            .map_or_else(|| own.clone(), |given| format!("{own} {given}"))
    }

    /// Returns true if the server received the startup parameter, which some poolers drop.
    pub(super) async fn took_effect(&self, connection: &mut AsyncPgConnection) -> bool {
        // Simple protocol, because a pooler may not support prepared statements.
        let query = format!(
            "SELECT 1 / (setting = '{}')::int FROM pg_settings WHERE name = 'statement_timeout'",
            self.milliseconds
        );
        connection.batch_execute(&query).await.is_ok()
    }

    /// Applies the settings with statements. Keepalives remain those of the pooler.
    pub(super) async fn apply(
        &self,
        connection: &mut AsyncPgConnection,
    ) -> Result<(), ConnectError> {
        let mut statements = String::new();
        for name in [
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
        ] {
            let _ = write!(statements, "SET {name} = {}; ", self.milliseconds);
        }
        for (name, value) in
            assignments(self.given.as_deref().unwrap_or_default()).ok_or_else(unusable)?
        {
            let _ = write!(
                statements,
                "SELECT set_config('{}', '{}', false); ",
                quoted(&name),
                quoted(&value)
            );
        }
        connection
            .batch_execute(&statements)
            .await
            .map_err(|error| ConnectError::Unreachable(one_line(&error)))
    }
}

fn unusable() -> ConnectError {
    ConnectError::Refused(
        "the pooler does not accept the parameter options of the URL: expected only settings (-c NAME=VALUE)"
            .to_owned(),
    )
}

fn quoted(text: &str) -> String {
    text.replace('\'', "''")
}

/// Parses `-c NAME=VALUE`, `-cNAME=VALUE` and `--NAME=VALUE`.
fn assignments(options: &str) -> Option<Vec<(String, String)>> {
    let mut words = words(options).into_iter();
    let mut all = Vec::new();
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            Some("") => words.next()?,
            Some(rest) => rest.to_owned(),
            None => return None,
        };
        let (name, value) = assignment.split_once('=')?;
        all.push((name.replace('-', "_"), value.to_owned()));
    }
    Some(all)
}

/// Splits at white space. A backslash escapes the next character.
fn words(text: &str) -> Vec<String> {
    let (mut all, mut word) = (Vec::new(), String::new());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.extend(characters.next()),
            space if space.is_whitespace() => all.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    all.push(word);
    all.retain(|word| !word.is_empty());
    all
}

#[cfg(test)]
mod tests {
    use super::assignments;

    #[test]
    fn every_form_of_options_is_parsed() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            assignments(r"-c search_path=a,\ b -cwork_mem=4MB  --lock-timeout=5"),
            Some(vec![
                pair("search_path", "a, b"),
                pair("work_mem", "4MB"),
                pair("lock_timeout", "5")
            ])
        );
        assert_eq!(assignments(""), Some(Vec::new()));
        for other in ["-c", "-c name", "-B 5", "name=value"] {
            assert_eq!(assignments(other), None, "{other}");
        }
    }
}
