//! The audit trail in a store.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{
    audit::{AuditEntry, AuditEvent, EventKind},
    ids::{SessionId, UserId},
    time::Moment,
};

/// Which events are wanted: those that fit everything that is set.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// About this user.
    pub user: Option<UserId>,
    /// About this session.
    pub session: Option<SessionId>,
    /// About this token.
    pub jti: Option<String>,
    /// The kinds of the events; empty for all kinds.
    pub kinds: Vec<EventKind>,
    /// True for events of operators alone.
    pub by_operators: bool,
    /// At or after this moment.
    pub since: Option<Moment>,
    /// Before this moment.
    pub until: Option<Moment>,
    /// After the event of this moment and id.
    pub after: Option<(Moment, i64)>,
    /// So many at the most.
    pub limit: i64,
}

/// Events, by moment and id. They are added here or in one transaction with what they tell of
/// (see [`super::SessionStore`] and [`super::UserStore`]), and never changed.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Adds events, each with how often it happened: all or none.
    async fn append(&self, events: &[(AuditEvent, u32)]) -> Result<(), StoreError>;

    /// The events that fit, the oldest first.
    async fn events(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, StoreError>;

    /// Removes up to `limit` events from before `before`. How many.
    async fn purge(&self, before: Moment, limit: i64) -> Result<usize, StoreError>;
}
