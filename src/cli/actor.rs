//! Who sits at the command line, for the audit trail.

use crate::domain::audit::Actor;

const LONGEST: usize = 64;

/// The operator, by the name that the machine gives: of who became root by sudo, the name before.
#[expect(clippy::disallowed_methods, reason = "these names are the machine's and no settings of ours")]
pub(super) fn operator() -> Actor {
    let named = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()));
    let name = named.map(|name| name.chars().filter(|c| !c.is_control()).take(LONGEST).collect::<String>());
    Actor::Operator(name.filter(|name| !name.trim().is_empty()))
}
