//! Names of hosts in URLs: whether they mean this machine, and what of a URL may be shown.

use std::net::IpAddr;

/// Returns true if the name means this machine wherever it is looked up.
pub(super) fn is_loopback(name: &str) -> bool {
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The name, or asterisks where it is more than a name: then a part of a password may have got into it.
pub(super) fn shown(name: &str) -> &str {
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte)) { name } else { "***" }
}
