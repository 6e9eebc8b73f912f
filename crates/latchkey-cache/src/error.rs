//! Descriptions of errors of Redis, for operators.

use redis::{ErrorKind, RedisError};

/// Describes an error and names the setting at fault, if any. For a pipeline, describes the first
/// command that failed.
pub(super) fn describe(error: &RedisError) -> String {
    let text = match error.clone().into_server_errors().as_deref() {
        Some([(_, first), ..]) => {
            format!("{} {}", first.code(), first.details().unwrap_or_default())
        }
        _ => error.to_string(),
    };
    let contains_any = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if error.kind() == ErrorKind::AuthenticationFailed || contains_any(&["NOAUTH", "WRONGPASS"]) {
        format!("the server refuses the user or the password ({text})")
    } else if contains_any(&["NOPERM", "can't run this command", "No permissions to"]) {
        format!("the Redis user lacks a permission, see docs/guides/redis.md ({text})")
    } else {
        text
    }
}
