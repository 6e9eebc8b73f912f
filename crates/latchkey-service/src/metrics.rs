//! Counters of the use cases.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::revocation::REVOCATIONS;
use latchkey_domain::{audit::EventKind, session::RevokedReason};

/// Label of a revocation.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ReasonLabel {
    /// `logged_out`, `reuse`, …
    pub reason: &'static str,
}

/// Label of a revocation by an operator.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct EventLabel {
    /// `session_revoked`, `key_revoked`, …
    pub event: &'static str,
}

/// Counters. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Audit events that were dropped because the queue or a round was full.
    pub audit_dropped: Counter,
    /// Audit events beyond a budget, which summary rows count.
    pub audit_summarised: Counter,
    /// Audit rows that were written off the request path.
    pub audit_written: Counter,
    /// Requests that revoked all sessions of a user.
    pub sign_outs_everywhere: Counter,
    /// Refresh tokens that were presented again within the reuse grace and received the same
    /// successor.
    pub grace_hits: Counter,
    /// Subset of [`Self::grace_hits`] with another address or another user agent than the last
    /// refresh.
    pub grace_hits_other_client: Counter,
    /// Revocations by operators, by the event in the audit trail.
    pub operator_revocations: Family<EventLabel, Counter>,
    /// Sessions that ended, by reason.
    pub revocations: Family<ReasonLabel, Counter>,
    /// Refresh tokens that were exchanged.
    pub rotations: Counter,
    /// Sign-ins.
    pub sign_ins: Counter,
}

impl Metrics {
    /// Adds `count` sessions that ended for this reason.
    pub(super) fn count_revoked(&self, reason: RevokedReason, count: usize) {
        self.revocations
            .get_or_create(&ReasonLabel {
                reason: reason.as_str(),
            })
            .inc_by(count as u64);
    }

    /// Counts a revocation by an operator.
    pub(super) fn count_operator(&self, event: EventKind) {
        self.operator_revocations
            .get_or_create(&EventLabel {
                event: event.as_str(),
            })
            .inc();
    }

    /// Registers the counters in `registry`, with each series at 0.
    pub fn register(&self, registry: &mut Registry) {
        // Revocations by operators have a separate counter, because they happen in other processes.
        for reason in RevokedReason::ALL
            .into_iter()
            .filter(|reason| *reason != RevokedReason::Operator)
        {
            self.count_revoked(reason, 0);
        }
        for event in REVOCATIONS {
            let _ = self.operator_revocations.get_or_create(&EventLabel {
                event: event.as_str(),
            });
        }
        registry.register("sign_ins", "Sign-ins", self.sign_ins.clone());
        registry.register(
            "rotations",
            "Refresh tokens that were exchanged",
            self.rotations.clone(),
        );
        let help = "Refresh tokens that were presented again within the reuse grace and received the same successor";
        registry.register("reuse_grace_repeats", help, self.grace_hits.clone());
        let help =
            "Grace hits from another address or with another user agent than the last refresh";
        registry.register(
            "reuse_grace_repeats_other_client",
            help,
            self.grace_hits_other_client.clone(),
        );
        let help = "Sessions that this process ended, by reason; reuse is the use of a spent refresh token";
        registry.register("revocations", help, self.revocations.clone());
        let help = "Revocations by operators, by audit event; every instance counts all of them";
        registry.register(
            "operator_revocations",
            help,
            self.operator_revocations.clone(),
        );
        registry.register(
            "sign_outs_everywhere",
            "Requests that revoked all sessions of a user",
            self.sign_outs_everywhere.clone(),
        );
        let help = "Audit rows that were written off the request path";
        registry.register("audit_events_written", help, self.audit_written.clone());
        let help = "Audit events beyond a budget, which are counted in one row a minute";
        registry.register(
            "audit_events_summarised",
            help,
            self.audit_summarised.clone(),
        );
        let help = "Audit events that were lost because too many waited for the database";
        registry.register("audit_events_dropped", help, self.audit_dropped.clone());
    }
}
