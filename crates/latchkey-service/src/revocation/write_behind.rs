//! Write-behind of the entries of rotations. A refresh does not wait for them. Entries beyond the
//! capacity are dropped.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::sync::{mpsc::Sender, watch};

use crate::batcher::{BatchWriter, Batcher, Limits, Linger};
use latchkey_domain::ports::{Blacklist, BlacklistEntry, StoreError};

/// Limits of the queue. Entries beyond them and entries of a failed write are dropped, which is
/// harmless because the database has the generations.
const LIMITS: Limits = Limits {
    queue_capacity: 4096,
    // A batch costs one round trip and one script, regardless of its size.
    batch_size: 256,
    linger: Linger::Pause(Duration::from_millis(50)),
    backoff: None,
    final_timeout: Duration::from_secs(3),
};

type QueuedEntry = (BlacklistEntry, TimeDelta);

/// Sending half of the queue, which never waits. Clones share the queue.
#[derive(Clone)]
pub(super) struct EntryQueue(Sender<QueuedEntry>);

/// Receiving half of the queue, which writes to the blacklist.
pub struct EntryWriter(Batcher<Entries>);

struct Entries(Arc<dyn Blacklist>);

pub(super) fn channel(blacklist: Arc<dyn Blacklist>) -> (EntryQueue, EntryWriter) {
    let (sender, batcher) = Batcher::new(LIMITS, Entries(blacklist));
    (EntryQueue(sender), EntryWriter(batcher))
}

impl EntryQueue {
    pub(super) fn enqueue(&self, entry: BlacklistEntry, lifetime: TimeDelta) {
        if self.0.try_send((entry, lifetime)).is_err() {
            tracing::debug!("entry of a rotation dropped");
        }
    }
}

impl EntryWriter {
    /// Writes until `stopped` changes, and then the remaining entries.
    pub async fn run(self, mut stopped: watch::Receiver<bool>) {
        let stop = async {
            let _ = stopped.changed().await;
        };
        self.0.run(stop).await;
    }
}

impl BatchWriter for Entries {
    type Item = QueuedEntry;
    type Row = QueuedEntry;

    fn rows(&mut self, batch: Vec<QueuedEntry>, _is_last: bool) -> Vec<QueuedEntry> {
        batch
    }

    async fn write(&self, entries: &[QueuedEntry]) -> Result<(), StoreError> {
        let written = self.0.write_best_effort(entries).await;
        if let Err(error) = &written {
            tracing::debug!(%error, count = entries.len(), "entries of rotations not written");
        }
        written
    }
}
