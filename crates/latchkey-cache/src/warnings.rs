//! Warnings about the set-up of the Redis servers.

pub(super) fn foreign_warning(deployment: &str) -> String {
    let name: String = deployment
        .chars()
        .take(64)
        .flat_map(char::escape_default)
        .collect();
    format!(
        "Redis holds the blacklist of another deployment ({name}), so every lookup queries the database: \
         set a different LATCHKEY_REDIS_PREFIX for each deployment"
    )
}

pub(super) fn eviction_warning(policy: &str) -> String {
    format!(
        "Redis evicts keys ({policy}), so every lookup also queries the database: set maxmemory-policy to noeviction"
    )
}
