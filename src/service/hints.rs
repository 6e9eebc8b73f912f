//! The marks of rotations: written in the background, and dropped when there are too many. A refresh waits for none.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use crate::ports::{Blacklist, Mark};

/// Marks that wait. More are dropped: the database knows what they say.
const ROOM: usize = 4096;

/// Marks that are written at once.
const BATCH: usize = 256;

/// How long more are waited for after a batch that was not full.
const REST: Duration = Duration::from_millis(50);

type Hint = (Mark, TimeDelta);

/// Takes marks without waiting. Cloning shares the queue.
#[derive(Clone)]
pub(super) struct Hints(mpsc::Sender<Hint>);

/// Writes what was given to it.
pub struct HintWriter {
    blacklist: Arc<dyn Blacklist>,
    queue: mpsc::Receiver<Hint>,
}

pub(super) fn channel(blacklist: Arc<dyn Blacklist>) -> (Hints, HintWriter) {
    let (give, queue) = mpsc::channel(ROOM);
    (Hints(give), HintWriter { blacklist, queue })
}

impl Hints {
    pub(super) fn give(&self, mark: Mark, life: TimeDelta) {
        if self.0.try_send((mark, life)).is_err() {
            tracing::debug!("a rotation's mark was dropped");
        }
    }
}

impl HintWriter {
    /// Writes until `stopped` changes, and then what was given before.
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                count = self.queue.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    if let Err(error) = self.blacklist.fill(&batch).await {
                        tracing::debug!(%error, count, "marks of rotations were not written");
                    }
                    batch.clear();
                    // A batch costs a round trip and a script, whether it is of one or of many.
                    if count < BATCH && !self.queue.is_closed() {
                        tokio::select! {
                            () = sleep(REST) => {}
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
#[path = "hints_tests.rs"]
mod tests;
