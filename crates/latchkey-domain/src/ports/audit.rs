//! Port of the audit trail.

use async_trait::async_trait;

use super::StoreError;
use crate::{
    audit::{AuditEntry, AuditEvent, EventKind},
    ids::{SessionId, UserId},
    time::Moment,
};

/// Filter for events. An event must match every field that is set.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// User of the event.
    pub user: Option<UserId>,
    /// Session of the event.
    pub session: Option<SessionId>,
    /// Token of the event, by its claim `jti`.
    pub jti: Option<String>,
    /// Kinds of events. Empty for all kinds.
    pub kinds: Vec<EventKind>,
    /// True for events of operators only.
    pub by_operators: bool,
    /// Earliest time, inclusive.
    pub since: Option<Moment>,
    /// Latest time, exclusive.
    pub until: Option<Moment>,
    /// Time and id of the last event of the previous page.
    pub after: Option<(Moment, i64)>,
    /// Maximum number of events.
    pub limit: i64,
}

/// Store of audit events, ordered by time and id. Events are only added: here, or in one
/// transaction with the change that they describe (see [`super::SessionStore`] and
/// [`super::UserStore`]).
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Adds all events or none, each with the number of its occurrences.
    async fn append(&self, events: &[(AuditEvent, u32)]) -> Result<(), StoreError>;

    /// Returns the matching events, oldest first.
    async fn events(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, StoreError>;

    /// Removes up to `limit` events older than `before`. Returns their number.
    async fn purge(&self, before: Moment, limit: i64) -> Result<usize, StoreError>;
}
