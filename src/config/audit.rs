//! The audit trail.

use std::time::Duration;

use chrono::TimeDelta;
use clap::{ArgAction, Args};

use super::value;

/// The audit trail.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Audit trail")]
pub struct AuditConfig {
    /// How long audit events are kept; 0 means for ever
    #[arg(long, env = "LATCHKEY_AUDIT_RETENTION", value_name = "SPAN", default_value = "90d", value_parser = value::duration)]
    pub audit_retention: Duration,

    /// Whether each refresh is an audit event, too, with the id of the access token that it gave
    #[arg(long, env = "LATCHKEY_AUDIT_REFRESHES", value_name = "BOOL", default_value = "false", action = ArgAction::Set)]
    pub audit_refreshes: bool,
}

impl AuditConfig {
    /// How long events are kept; `None` means for ever.
    #[must_use]
    pub fn retention(&self) -> Option<TimeDelta> {
        (!self.audit_retention.is_zero()).then(|| value::delta(self.audit_retention))
    }
}
