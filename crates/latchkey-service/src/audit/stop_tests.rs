//! The last rows of a server that stops.

use std::{future::ready, sync::Arc};

use async_trait::async_trait;
use latchkey_domain::{
    audit::{Actor, AuditEntry, AuditEvent, EventKind},
    ids::UserId,
    ports::{AuditQuery, AuditStore, StoreError, clock::SystemClock},
    time::Moment,
};
use prometheus_client::metrics::counter::Counter;

use super::{MAX_ROWS, audit_trail};
use crate::Metrics;

/// Store that confirms or refuses every write, and counts the confirmed rows.
struct Store {
    is_down: bool,
    rows: Counter,
}

#[async_trait]
impl AuditStore for Store {
    async fn append(&self, events: &[(AuditEvent, u32)]) -> Result<(), StoreError> {
        if self.is_down {
            return Err(StoreError::Unavailable("down".to_owned()));
        }
        self.rows.inc_by(events.len() as u64);
        Ok(())
    }

    async fn events(&self, _: &AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
        Ok(Vec::new())
    }

    async fn purge(&self, _: Moment, _: i64) -> Result<usize, StoreError> {
        Ok(0)
    }
}

/// Returns the numbers of rows that were written and dropped, of events that wait at a stop.
async fn stopped_with(events: usize, is_down: bool) -> (u64, u64) {
    let (counters, rows) = (Metrics::default(), Counter::default());
    let store = Store {
        is_down,
        rows: rows.clone(),
    };
    let (trail, writer) = audit_trail(Arc::new(store), Arc::new(SystemClock), &counters);
    for number in 0..events {
        // Refreshes of different users are neither combined nor limited by the budget.
        let event = AuditEvent::new(Moment::UNIX_EPOCH, EventKind::Refreshed, Actor::Client);
        trail.record(event.of_user(&UserId::new(number.to_string())));
    }
    writer.run(ready(())).await;
    (rows.get(), counters.audit_dropped.get())
}

#[tokio::test]
async fn stop_writes_more_rows_than_a_batch_holds() {
    assert_eq!(stopped_with(MAX_ROWS + 500, false).await, (1500, 0));
}

#[tokio::test]
async fn stop_without_the_database_counts_the_lost_events() {
    assert_eq!(stopped_with(MAX_ROWS + 500, true).await, (0, 1500));
}
