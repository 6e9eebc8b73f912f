//! Name of the operator in the audit trail.

use clap::Args;

use latchkey_domain::audit::Actor;

/// Maximum length of the name in characters.
const MAX_NAME: usize = 64;

/// Setting that names the operator.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Audit trail")]
pub(super) struct OperatorArgs {
    /// Name of the operator in the audit trail; without it, `SUDO_USER`, `USER` or `LOGNAME`
    #[arg(long, env = "LATCHKEY_OPERATOR", value_name = "NAME")]
    operator: Option<String>,
}

impl OperatorArgs {
    /// Returns the operator, with the name of the setting or of the environment. With sudo, it is
    /// the user who ran sudo.
    pub(super) fn actor(&self) -> Actor {
        Actor::Operator(
            self.operator
                .as_deref()
                .and_then(readable)
                .or_else(name_in_environment),
        )
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "these variables are not settings of Latchkey"
)]
fn name_in_environment() -> Option<String> {
    ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| readable(&std::env::var(name).ok()?))
}

fn readable(name: &str) -> Option<String> {
    let name: String = name
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_NAME)
        .collect();
    (!name.trim().is_empty()).then_some(name)
}
