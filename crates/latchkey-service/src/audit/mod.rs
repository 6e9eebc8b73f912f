//! Audit trail of events that need no transaction. The events are queued and written in batches,
//! off the request path.
//!
//! Sign-ins, revocations and changes of users are not queued: the stores write them in the
//! transaction of the change. Events of keys are written after the change (`keys`).

mod budget;
pub mod trail;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc::{Sender, error::TrySendError};

use budget::Budget;

use crate::{
    Metrics,
    batcher::{BatchWriter, Batcher, Limits, Linger},
    sampled::SampledCauses,
};
use latchkey_domain::{
    audit::{AuditEvent, EventKind, Origin},
    ids::UserId,
    ports::{AuditStore, Clock, StoreError},
    time::Moment,
};

/// Limits of the queue. Events beyond them are counted and dropped, so that a flood of refusals
/// does not exhaust the memory.
const LIMITS: Limits = Limits {
    queue_capacity: 4096,
    batch_size: 4096,
    // Equal events within it become one row.
    linger: Linger::Collect(Duration::from_secs(1)),
    backoff: Some(Duration::from_secs(1)),
    final_timeout: Duration::from_secs(3),
};

/// Maximum number of rows in one batch. Further rows are counted and dropped.
const MAX_ROWS: usize = 1000;

/// Sending half of the audit trail. It never waits. Clones share the queue.
#[derive(Clone)]
pub struct AuditTrail {
    events: Sender<AuditEvent>,
    dropped: Counter,
}

/// Receiving half of the audit trail, which writes the events within a budget.
pub struct AuditWriter(Batcher<Rows>);

/// Conversion of events into rows, each with its number of events.
struct Rows {
    budget: Budget,
    clock: Arc<dyn Clock>,
    dropped: Counter,
    store: Arc<dyn AuditStore>,
    summarised: Counter,
    written: Counter,
}

/// Returns a trail that writes to `store`, and its writer.
#[must_use]
pub fn audit_trail(
    store: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
    counters: &Metrics,
) -> (AuditTrail, AuditWriter) {
    let rows = Rows {
        budget: Budget::new(clock.now()),
        clock,
        dropped: counters.audit_dropped.clone(),
        store,
        summarised: counters.audit_summarised.clone(),
        written: counters.audit_written.clone(),
    };
    let (events, batcher) = Batcher::new(LIMITS, rows);
    let trail = AuditTrail {
        events,
        dropped: counters.audit_dropped.clone(),
    };
    (trail, AuditWriter(batcher))
}

impl AuditTrail {
    /// Enqueues an event, or drops it if the queue is full.
    pub fn record(&self, event: AuditEvent) {
        log_refusal(&event);
        if let Err(refused) = self.events.try_send(event)
            && self.dropped.inc() == 0
        {
            let cause = match refused {
                TrySendError::Full(_) => "the queue is full because the database is too slow",
                TrySendError::Closed(_) => "the server stops",
            };
            tracing::error!("audit events dropped: {cause}");
        }
    }
}

/// Logs a refusal with user, session and address, once a second for each cause. The log line of the
/// request has none of these, because a request is not known to belong to a user.
fn log_refusal(event: &AuditEvent) {
    static SIGN_INS: LazyLock<SampledCauses> = LazyLock::new(SampledCauses::default);
    static TOKENS: LazyLock<SampledCauses> = LazyLock::new(SampledCauses::default);
    let (lines, what) = match event.kind {
        EventKind::SignInRefused => (&SIGN_INS, "sign-in refused"),
        EventKind::TokenRefused => (&TOKENS, "token refused"),
        _ => return,
    };
    let cause = event.cause.unwrap_or_default();
    if tracing::enabled!(tracing::Level::INFO)
        && let Some(suppressed) = lines.due(cause)
    {
        let (user, session) = (
            event.user.as_ref().map(UserId::as_str),
            event.session.map(|id| id.to_string()),
        );
        tracing::info!(
            cause,
            user,
            session,
            address = event.origin.ip.as_deref(),
            suppressed,
            "{what}"
        );
    }
}

impl AuditWriter {
    /// Writes events until `stop` completes, and then the remaining rows. A failed write is
    /// repeated after the back-off.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        self.0.run(stop).await;
    }
}

impl BatchWriter for Rows {
    type Item = AuditEvent;
    type Row = (AuditEvent, u32);

    /// Limits the rows, except those of the last batches. Refused tokens are dropped first, so that
    /// a flood of them does not displace other events.
    fn rows(&mut self, batch: Vec<AuditEvent>, is_last: bool) -> Vec<(AuditEvent, u32)> {
        let (mut rows, summarised) = self.budget.spend(grouped(&batch), self.clock.now());
        self.summarised.inc_by(summarised);
        if rows.len() > MAX_ROWS && !is_last {
            rows.sort_by_key(|(event, _)| event.kind == EventKind::TokenRefused);
            self.dropped.inc_by((rows.len() - MAX_ROWS) as u64);
            rows.truncate(MAX_ROWS);
        }
        rows
    }

    async fn write(&self, rows: &[(AuditEvent, u32)]) -> Result<(), StoreError> {
        let written = self.store.append(rows).await;
        match &written {
            Ok(()) => drop(self.written.inc_by(rows.len() as u64)),
            Err(error) => tracing::warn!(%error, rows = rows.len(), "audit events not written"),
        }
        written
    }

    fn has_pending(&self) -> bool {
        self.budget.has_pending()
    }

    fn close(&mut self) -> Vec<(AuditEvent, u32)> {
        self.budget.close()
    }

    fn report_lost(&self, count: usize) {
        self.dropped.inc_by(count as u64);
        tracing::error!(count, "last audit events not written");
    }
}

/// Combines equal events into one row, which has the values of the first event.
///
/// Thus a client that repeats a request with a revoked token does not fill the disk. The user agent
/// is ignored, and so is the token id, except for refreshes. A client therefore gains nothing by
/// varying its user agent or by using all tokens of a session.
fn grouped(batch: &[AuditEvent]) -> Vec<(AuditEvent, u32)> {
    let mut rows: Vec<(AuditEvent, u32)> = Vec::new();
    let mut indexes: HashMap<AuditEvent, usize> = HashMap::new();
    for event in batch {
        let origin = Origin {
            user_agent: None,
            ..event.origin.clone()
        };
        // With refreshes audited, each token has its own row.
        let jti = event
            .jti
            .clone()
            .filter(|_| event.kind == EventKind::Refreshed);
        let alike = AuditEvent {
            at: Moment::UNIX_EPOCH,
            jti,
            origin,
            ..event.clone()
        };
        if let Some((_, times)) = indexes.get(&alike).and_then(|index| rows.get_mut(*index)) {
            *times = times.saturating_add(1);
        } else {
            indexes.insert(alike, rows.len());
            rows.push((event.clone(), 1));
        }
    }
    rows
}

#[cfg(test)]
#[path = "stop_tests.rs"]
mod stop_tests;

#[cfg(test)]
mod tests {
    use super::grouped;
    use latchkey_domain::{
        audit::{Actor, AuditEvent, EventKind, Origin},
        time::Moment,
    };

    #[test]
    fn equal_events_are_combined_and_different_ones_are_not() {
        let at = |second| Moment::from_timestamp(second, 0).unwrap();
        let event = |second, cause| {
            AuditEvent::new(at(second), EventKind::TokenRefused, Actor::Client).with_cause(cause)
        };
        let renamed = event(5, "spent").from(&Origin {
            ip: None,
            user_agent: Some("another agent".to_owned()),
        });
        let moved = event(6, "spent").from(&Origin {
            ip: Some("192.0.2.1".to_owned()),
            user_agent: None,
        });
        let batch = [
            event(1, "spent"),
            event(2, "spent"),
            event(3, "cut_off"),
            event(4, "spent"),
            renamed,
            moved.clone(),
        ];
        assert_eq!(
            grouped(&batch),
            [(event(1, "spent"), 4), (event(3, "cut_off"), 1), (moved, 1)]
        );
    }
}
