//! Settings of the audit trail.

use std::time::Duration;

use chrono::TimeDelta;
use clap::{ArgAction, Args};

use super::value;

/// Contents and retention of the audit trail.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Audit trail")]
pub struct AuditConfig {
    /// Retention of audit events; 0 means for ever
    #[arg(long, env = "LATCHKEY_AUDIT_RETENTION", value_name = "DURATION", default_value = "90d", value_parser = value::duration)]
    pub audit_retention: Duration,

    /// Record each refresh as an audit event, with the id of the new access token
    #[arg(long, env = "LATCHKEY_AUDIT_REFRESHES", value_name = "BOOL", default_value = "false", action = ArgAction::Set)]
    pub audit_refreshes: bool,
}

impl AuditConfig {
    /// Retention of audit events. `None` means for ever.
    #[must_use]
    pub fn retention(&self) -> Option<TimeDelta> {
        (!self.audit_retention.is_zero()).then(|| value::delta(self.audit_retention))
    }
}
