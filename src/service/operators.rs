//! Counts what operators revoke. Each of their commands is a process of its own, so its events in the audit trail are read.

use std::{collections::HashMap, sync::Arc};

use chrono::TimeDelta;
use tokio::sync::Mutex;

use super::Metrics;
use crate::{
    domain::{audit::EventKind, time::Moment},
    ports::{AuditQuery, AuditStore, Clock, StoreError},
};

/// The events that are counted.
pub(super) const REVOCATIONS: [EventKind; 4] = [
    EventKind::AllSessionsRevoked,
    EventKind::AllUsersSignedOut,
    EventKind::KeyRevoked,
    EventKind::SessionRevoked,
];

/// The time before a look from which events are read again: commits come late, and clocks of machines differ.
const OVERLAP: TimeDelta = TimeDelta::minutes(2);

/// Events in one statement.
const PAGE: i64 = 500;

/// Reads the trail for revocations by operators.
pub struct OperatorWatch {
    audit: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
    counters: Metrics,
    /// Events that were counted, or written before the first look; `None` before it.
    seen: Mutex<Option<HashMap<i64, Moment>>>,
}

impl OperatorWatch {
    /// A watch that counts what it finds in `counters`.
    #[must_use]
    pub fn new(audit: Arc<dyn AuditStore>, clock: Arc<dyn Clock>, counters: Metrics) -> Self {
        Self {
            audit,
            clock,
            counters,
            seen: Mutex::default(),
        }
    }

    /// Counts what was written since the last look. Run it every few seconds.
    ///
    /// # Errors
    /// When the store cannot be reached; the next look counts the rest.
    pub async fn poll(&self) -> Result<(), StoreError> {
        let mut seen = self.seen.lock().await;
        let since = self.clock.now() - OVERLAP;
        let is_first = seen.is_none();
        let mut known = seen.take().unwrap_or_default();
        known.retain(|_, at| *at >= since);
        let mut looked = Ok(());
        for kind in REVOCATIONS {
            looked = self.count(kind, since, is_first, &mut known).await;
            if looked.is_err() {
                break;
            }
        }
        // What a failed first look has not read would count as new.
        if looked.is_ok() || !is_first {
            *seen = Some(known);
        }
        looked
    }

    async fn count(
        &self,
        kind: EventKind,
        since: Moment,
        is_first: bool,
        known: &mut HashMap<i64, Moment>,
    ) -> Result<(), StoreError> {
        let mut query = AuditQuery {
            kinds: vec![kind],
            since: Some(since),
            by_operators: true,
            limit: PAGE,
            ..AuditQuery::default()
        };
        loop {
            let page = self.audit.events(&query).await?;
            for event in &page {
                if known.insert(event.id, event.at).is_none() && !is_first {
                    self.counters.count_operator(kind);
                }
            }
            let Some(last) = page
                .last()
                .filter(|_| i64::try_from(page.len()).is_ok_and(|rows| rows >= PAGE))
            else {
                return Ok(());
            };
            query.after = Some((last.at, last.id));
        }
    }
}
