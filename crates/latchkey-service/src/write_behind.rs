//! Write-behind of the entries of rotations. A refresh does not wait for them. Entries beyond the
//! capacity are dropped.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use latchkey_domain::ports::{Blacklist, BlacklistEntry};

/// Capacity of the queue. Further entries are dropped, which is harmless because the database has
/// the generations.
const QUEUE_CAPACITY: usize = 4096;

/// Maximum number of entries in one batch.
const BATCH_SIZE: usize = 256;

/// Time for which entries are collected after a partly filled batch.
const LINGER: Duration = Duration::from_millis(50);

type QueuedEntry = (BlacklistEntry, TimeDelta);

/// Sending half of the queue, which never waits. Clones share the queue.
#[derive(Clone)]
pub(super) struct EntryQueue(mpsc::Sender<QueuedEntry>);

/// Receiving half of the queue, which writes to the blacklist.
pub struct EntryWriter {
    blacklist: Arc<dyn Blacklist>,
    queue: mpsc::Receiver<QueuedEntry>,
}

pub(super) fn channel(blacklist: Arc<dyn Blacklist>) -> (EntryQueue, EntryWriter) {
    let (sender, queue) = mpsc::channel(QUEUE_CAPACITY);
    (EntryQueue(sender), EntryWriter { blacklist, queue })
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
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut batch = Vec::with_capacity(BATCH_SIZE);
        loop {
            tokio::select! {
                biased;
                count = self.queue.recv_many(&mut batch, BATCH_SIZE) => {
                    if count == 0 {
                        return;
                    }
                    if let Err(error) = self.blacklist.write_best_effort(&batch).await {
                        tracing::debug!(%error, count, "entries of rotations not written");
                    }
                    batch.clear();
                    // A batch costs one round trip and one script, regardless of its size.
                    if count < BATCH_SIZE && !self.queue.is_closed() {
                        tokio::select! {
                            () = sleep(LINGER) => {}
                            _ = stopped.changed() => self.queue.close(),
                        }
                    }
                }
                // Closing the queue keeps its entries, so they are still received.
                _ = stopped.changed() => self.queue.close(),
            }
        }
    }
}

#[cfg(test)]
#[path = "write_behind_tests.rs"]
mod tests;
