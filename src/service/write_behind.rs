//! The marks of rotations: written in the background, and dropped when there are too many. A refresh waits for none.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use crate::ports::{Blacklist, BlacklistEntry};

/// Marks that wait. More are dropped: the database knows what they say.
const QUEUE_CAPACITY: usize = 4096;

/// Marks that are written at once.
const BATCH_SIZE: usize = 256;

/// How long more are waited for after a batch that was not full.
const LINGER: Duration = Duration::from_millis(50);

type QueuedEntry = (BlacklistEntry, TimeDelta);

/// Takes marks without waiting. Cloning shares the queue.
#[derive(Clone)]
pub(super) struct EntryQueue(mpsc::Sender<QueuedEntry>);

/// Writes what was given to it.
pub struct EntryWriter {
    blacklist: Arc<dyn Blacklist>,
    queue: mpsc::Receiver<QueuedEntry>,
}

pub(super) fn channel(blacklist: Arc<dyn Blacklist>) -> (EntryQueue, EntryWriter) {
    let (give, queue) = mpsc::channel(QUEUE_CAPACITY);
    (EntryQueue(give), EntryWriter { blacklist, queue })
}

impl EntryQueue {
    pub(super) fn enqueue(&self, mark: BlacklistEntry, life: TimeDelta) {
        if self.0.try_send((mark, life)).is_err() {
            tracing::debug!("a rotation's mark was dropped");
        }
    }
}

impl EntryWriter {
    /// Writes until `stopped` changes, and then what was given before.
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
                        tracing::debug!(%error, count, "marks of rotations were not written");
                    }
                    batch.clear();
                    // A batch costs a round trip and a script, whether it is of one or of many.
                    if count < BATCH_SIZE && !self.queue.is_closed() {
                        tokio::select! {
                            () = sleep(LINGER) => {}
                            _ = stopped.changed() => self.queue.close(),
                        }
                    }
                }
                // What is in the queue still comes, and then its end.
                _ = stopped.changed() => self.queue.close(),
            }
        }
    }
}

#[cfg(test)]
#[path = "write_behind_tests.rs"]
mod tests;
