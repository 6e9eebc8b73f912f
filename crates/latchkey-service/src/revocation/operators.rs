//! Counter of revocations by operators. Each command of an operator is a separate process, so its
//! events are read from the audit trail.

use std::{collections::HashMap, sync::Arc};

use chrono::TimeDelta;
use tokio::sync::Mutex;

use crate::Metrics;
use latchkey_domain::{
    audit::EventKind,
    ports::{AuditQuery, AuditStore, Clock, StoreError},
    time::Moment,
};

/// Counted events.
pub(crate) const REVOCATIONS: [EventKind; 4] = [
    EventKind::AllSessionsRevoked,
    EventKind::AllUsersSignedOut,
    EventKind::KeyRevoked,
    EventKind::SessionRevoked,
];

/// Period before each poll that is read again, because commits may be delayed and clocks differ.
const OVERLAP: TimeDelta = TimeDelta::minutes(2);

/// Events per query.
const PAGE: i64 = 500;

/// Poller of the audit trail for revocations by operators.
pub struct OperatorWatch {
    audit: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
    counters: Metrics,
    /// Counted events, and those from before the first poll. `None` before the first poll.
    seen: Mutex<Option<HashMap<i64, Moment>>>,
}

impl OperatorWatch {
    /// Returns a poller that counts in `counters`.
    #[must_use]
    pub fn new(audit: Arc<dyn AuditStore>, clock: Arc<dyn Clock>, counters: Metrics) -> Self {
        Self {
            audit,
            clock,
            counters,
            seen: Mutex::default(),
        }
    }

    /// Counts the events since the last poll. To be called every few seconds.
    ///
    /// # Errors
    /// The store cannot be reached. The next poll counts the remaining events.
    pub async fn poll(&self) -> Result<(), StoreError> {
        let mut seen = self.seen.lock().await;
        let since = self.clock.now() - OVERLAP;
        let is_first = seen.is_none();
        let mut known = seen.take().unwrap_or_default();
        known.retain(|_, at| *at >= since);
        let mut outcome = Ok(());
        for kind in REVOCATIONS {
            outcome = self.count(kind, since, is_first, &mut known).await;
            if outcome.is_err() {
                break;
            }
        }
        // After a failed first poll, old events that were not read yet would count as new.
        if outcome.is_ok() || !is_first {
            *seen = Some(known);
        }
        outcome
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
