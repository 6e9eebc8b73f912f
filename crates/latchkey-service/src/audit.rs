//! Audit trail of events that need no transaction. The events are queued and written in batches,
//! off the request path.
//!
//! Sign-ins, revocations and changes of users are not queued: the stores write them in the
//! transaction of the change. Events of keys are written after the change (`service/keys`).

mod budget;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    time::{sleep, timeout},
};

use budget::Budget;

use super::{Metrics, sampled::SampledCauses};
use latchkey_domain::{
    audit::{AuditEvent, EventKind, Origin},
    ids::UserId,
    ports::{AuditStore, Clock, StoreError},
    time::Moment,
};

/// Capacity of the queue and the batch. Further events are counted and dropped, so that a flood of
/// refusals does not exhaust the memory.
const QUEUE_CAPACITY: usize = 8192;

/// Share of the capacity for the queue. The other half is for the batch.
const RESERVED_CAPACITY: usize = QUEUE_CAPACITY / 2;

/// Events per receive, and rows per write at a stop.
const BATCH_SIZE: usize = 500;

/// Maximum number of rows in one round of about one second. Further rows are counted and dropped.
const MAX_ROWS: usize = 1000;

/// Time for which a batch waits for more events. Equal events within it become one row.
const LINGER: Duration = Duration::from_secs(1);

/// Back-off after a failed write.
const BACKOFF: Duration = Duration::from_secs(1);

/// Time limit for each of the last writes at a stop.
const FINAL_TIMEOUT: Duration = Duration::from_secs(3);

/// Sending half of the audit trail. It never waits. Clones share the queue.
#[derive(Clone)]
pub struct AuditTrail {
    events: Sender<AuditEvent>,
    dropped: Counter,
}

/// Receiving half of the audit trail, which writes the events within a budget.
pub struct AuditWriter {
    budget: Budget,
    clock: Arc<dyn Clock>,
    dropped: Counter,
    events: Receiver<AuditEvent>,
    store: Arc<dyn AuditStore>,
    summarised: Counter,
    written: Counter,
}

/// Rows to be written, each with its number of events.
type Rows = Vec<(AuditEvent, u32)>;

/// Returns a trail that writes to `store`, and its writer.
#[must_use]
pub fn audit_trail(
    store: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
    counters: &Metrics,
) -> (AuditTrail, AuditWriter) {
    let (sender, events) = channel(RESERVED_CAPACITY);
    let trail = AuditTrail {
        events: sender,
        dropped: counters.audit_dropped.clone(),
    };
    let writer = AuditWriter {
        budget: Budget::new(clock.now()),
        clock,
        dropped: counters.audit_dropped.clone(),
        events,
        store,
        summarised: counters.audit_summarised.clone(),
        written: counters.audit_written.clone(),
    };
    (trail, writer)
}

impl AuditTrail {
    /// Enqueues an event, or drops it if the queue is full.
    pub fn record(&self, event: AuditEvent) {
        log_refusal(&event);
        if self.events.try_send(event).is_err() && self.dropped.inc() == 0 {
            tracing::error!(
                "audit events dropped: the queue is full because the database is too slow"
            );
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
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            let mut batch = Vec::with_capacity(BATCH_SIZE);
            tokio::select! {
                () = &mut stop => return self.finish(Rows::new()).await,
                // The last sender was dropped, which also happens at a stop.
                received = self.events.recv_many(&mut batch, BATCH_SIZE) => if received == 0 {
                    return self.finish(Rows::new()).await;
                },
                () = sleep(LINGER), if self.budget.has_pending() => {}
            }
            if !batch.is_empty() {
                tokio::select! {
                    () = &mut stop => {
                        let rows = self.within_budget(&batch);
                        return self.finish(rows).await;
                    }
                    () = gather(&mut self.events, &mut batch) => {}
                }
            }
            let mut rows = self.within_budget(&batch);
            self.limit(&mut rows);
            while let Err(error) = self.write(&rows).await {
                tracing::warn!(%error, events = batch.len(), "audit events not written, retrying");
                tokio::select! {
                    () = &mut stop => return self.finish(rows).await,
                    () = sleep(BACKOFF) => {}
                }
            }
        }
    }

    async fn finish(mut self, mut rows: Rows) {
        let mut batch = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            batch.push(event);
        }
        rows.extend(self.within_budget(&batch));
        rows.extend(self.budget.close());
        for part in rows.chunks(BATCH_SIZE) {
            if !matches!(timeout(FINAL_TIMEOUT, self.write(part)).await, Ok(Ok(()))) {
                tracing::error!(rows = rows.len(), "last audit events not written");
                return;
            }
        }
    }

    fn within_budget(&mut self, batch: &[AuditEvent]) -> Rows {
        let (rows, summarised) = self.budget.spend(grouped(batch), self.clock.now());
        self.summarised.inc_by(summarised);
        rows
    }

    /// Limits the rows of one round. Refused tokens are dropped first, so that a flood of them does
    /// not displace other events.
    fn limit(&self, rows: &mut Rows) {
        if rows.len() > MAX_ROWS {
            rows.sort_by_key(|(event, _)| event.kind == EventKind::TokenRefused);
            self.dropped.inc_by((rows.len() - MAX_ROWS) as u64);
            rows.truncate(MAX_ROWS);
        }
    }

    async fn write(&self, rows: &[(AuditEvent, u32)]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        self.store.append(rows).await?;
        self.written.inc_by(rows.len() as u64);
        Ok(())
    }
}

async fn gather(events: &mut Receiver<AuditEvent>, batch: &mut Vec<AuditEvent>) {
    let _ = timeout(LINGER, async {
        while batch.len() < RESERVED_CAPACITY {
            let free = RESERVED_CAPACITY - batch.len();
            if events.recv_many(batch, free).await == 0 {
                return;
            }
        }
    })
    .await;
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
