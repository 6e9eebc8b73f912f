//! Host names in URLs: detection of this machine, and the parts of a URL that may be shown.

use std::net::IpAddr;

/// Returns true if the name always means this machine.
#[must_use]
pub fn is_loopback(name: &str) -> bool {
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Returns the name. Returns asterisks if it contains a character that no host name has, because it
/// may be part of a password.
#[must_use]
pub fn shown(name: &str) -> &str {
    if name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte))
    {
        name
    } else {
        "***"
    }
}
