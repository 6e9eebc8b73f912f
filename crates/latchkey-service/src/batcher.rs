//! Bounded queue whose items one task writes in batches, off the request path.
//!
//! Every item that the queue accepted is written, or reported by its writer. The writer may fail,
//! and a stop may come at any time, also during a linger or a back-off:
//!
//! - A stop closes the queue, which keeps its items, and ends the linger and the back-off.
//! - After it, each remaining batch has one attempt with a time limit. A writer that repeats failed
//!   writes loses the remaining items at the first failure, because its destination is unavailable.

use std::{
    future::pending,
    pin::{Pin, pin},
    time::Duration,
};

use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    time::{Instant, sleep, sleep_until, timeout},
};

use latchkey_domain::ports::StoreError;

/// Destination of the batches of one queue.
pub(super) trait BatchWriter {
    /// Element of the queue.
    type Item;
    /// Element of a write.
    type Row;

    /// Converts a batch into the rows to write. It is called once for each batch, whereas a write
    /// may be repeated. `is_last` is true after a stop, when no more items are accepted.
    fn rows(&mut self, batch: Vec<Self::Item>, is_last: bool) -> Vec<Self::Row>;

    /// Writes rows. Logs and counts the result.
    async fn write(&self, rows: &[Self::Row]) -> Result<(), StoreError>;

    /// Returns true if there will be rows without further items. An empty batch then follows after
    /// the linger.
    fn has_pending(&self) -> bool {
        false
    }

    /// Returns the pending rows, after the last batch.
    fn close(&mut self) -> Vec<Self::Row> {
        Vec::new()
    }

    /// Reports the number of rows and items that were lost at a stop. Only a writer that repeats
    /// failed writes loses some.
    fn report_lost(&self, _count: usize) {}
}

/// Limits of a queue and its batches.
pub(super) struct Limits {
    /// Capacity of the queue, apart from the current batch. Further items are refused.
    pub queue_capacity: usize,
    /// Maximum number of items in one batch.
    pub batch_size: usize,
    pub linger: Linger,
    /// Back-off before a failed write is repeated. `None` drops its rows.
    pub backoff: Option<Duration>,
    /// Time limit for each write after a stop.
    pub final_timeout: Duration,
}

/// Time for which a partly filled batch waits for more items.
#[derive(Clone, Copy)]
pub(super) enum Linger {
    /// After the first item of the batch. Items are moved from the queue meanwhile, so a flood
    /// fills batches early and not the queue.
    Collect(Duration),
    /// After a partly filled batch. The first item after a quiet time does not wait, and the task
    /// is not woken for each item.
    Pause(Duration),
}

/// Receiving half of a queue.
pub(super) struct Batcher<W: BatchWriter> {
    limits: Limits,
    /// Open until the stop completes or all senders are dropped.
    queue: Receiver<W::Item>,
    /// True after a partly filled batch.
    pauses: bool,
    writer: W,
}

impl<W: BatchWriter> Batcher<W> {
    /// Returns the sending half of a new queue, whose `try_send` refuses items beyond the capacity,
    /// and the receiving half.
    pub(super) fn new(limits: Limits, writer: W) -> (Sender<W::Item>, Self) {
        let (sender, queue) = channel(limits.queue_capacity);
        let batcher = Self {
            limits,
            queue,
            pauses: false,
            writer,
        };
        (sender, batcher)
    }

    /// Writes batches until `stop` completes or all senders are dropped, and then the remaining
    /// items.
    pub(super) async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        while let Some(batch) = self.next_batch(stop.as_mut()).await {
            let rows = self.writer.rows(batch, self.queue.is_closed());
            if !self.write(&rows, stop.as_mut()).await {
                let lost = rows.len() + self.queue.len() + self.writer.close().len();
                return self.writer.report_lost(lost);
            }
        }
        let rows = self.writer.close();
        if !self.write(&rows, stop).await {
            self.writer.report_lost(rows.len());
        }
    }

    /// Returns the next batch, which is empty if only pending rows are due. `None` if the queue is
    /// closed and empty.
    ///
    /// `stop` is polled only while the queue is open, and therefore never after it completed.
    async fn next_batch(
        &mut self,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Option<Vec<W::Item>> {
        let (collects, linger) = match self.limits.linger {
            Linger::Collect(linger) => (true, linger),
            Linger::Pause(linger) => (false, linger),
        };
        if self.pauses && !self.queue.is_closed() {
            tokio::select! {
                () = stop.as_mut() => self.queue.close(),
                () = sleep(linger) => {}
            }
        }
        let mut batch = Vec::new();
        let mut due = self.writer.has_pending().then(|| Instant::now() + linger);
        loop {
            let is_open = !self.queue.is_closed();
            let room = self.limits.batch_size - batch.len();
            tokio::select! {
                biased;
                () = stop.as_mut(), if is_open => self.queue.close(),
                () = reached(due), if is_open => break,
                received = self.queue.recv_many(&mut batch, room) => {
                    if batch.is_empty() {
                        return None;
                    }
                    if received == 0 || received == room || !collects {
                        break;
                    }
                    if received == batch.len() {
                        due = Some(Instant::now() + linger);
                    }
                }
            }
        }
        self.pauses = !collects && batch.len() < self.limits.batch_size;
        Some(batch)
    }

    /// Writes rows, repeatedly if the writer repeats failed writes. Returns false if they are lost
    /// at a stop.
    async fn write(
        &mut self,
        rows: &[W::Row],
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> bool {
        if rows.is_empty() {
            return true;
        }
        loop {
            let is_open = !self.queue.is_closed();
            let write = self.writer.write(rows);
            let is_written = if is_open {
                write.await.is_ok()
            } else {
                matches!(timeout(self.limits.final_timeout, write).await, Ok(Ok(())))
            };
            let Some(backoff) = self.limits.backoff.filter(|_| !is_written) else {
                return true;
            };
            if !is_open {
                return false;
            }
            tokio::select! {
                () = stop.as_mut() => self.queue.close(),
                () = sleep(backoff) => {}
            }
        }
    }
}

async fn reached(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

#[cfg(test)]
#[path = "batcher_tests.rs"]
mod tests;
