//! The operator's name in the audit trail.

use clap::Args;

use crate::domain::audit::Actor;

const LONGEST: usize = 64;

/// The setting that names the operator.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Audit trail")]
pub(super) struct OperatorArgs {
    /// Name of the operator in the audit trail; without it, `SUDO_USER`, `USER` or `LOGNAME`
    #[arg(long, env = "LATCHKEY_OPERATOR", value_name = "NAME")]
    operator: Option<String>,
}

impl OperatorArgs {
    /// Returns the operator, by the name that is set or else by the one that the machine gives. After sudo, it is the
    /// name of the user who called it.
    pub(super) fn actor(&self) -> Actor {
        Actor::Operator(
            self.operator
                .as_deref()
                .and_then(readable)
                .or_else(of_the_machine),
        )
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "these names are the machine's and no settings of ours"
)]
fn of_the_machine() -> Option<String> {
    ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| readable(&std::env::var(name).ok()?))
}

fn readable(name: &str) -> Option<String> {
    let name: String = name
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST)
        .collect();
    (!name.trim().is_empty()).then_some(name)
}
