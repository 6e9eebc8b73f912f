use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, PoisonError},
};

use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    task::{JoinHandle, yield_now},
};

use super::*;

/// Linger, back-off or time limit that the test does not reach.
const ENDLESS: Duration = Duration::from_hours(1);

const SHORT: Duration = Duration::from_millis(1);

/// Row that is pending after the first batch of [`Recorder::with_pending`].
const PENDING: u32 = 100;

const LIMITS: Limits = Limits {
    queue_capacity: 8,
    batch_size: 4,
    linger: Linger::Collect(ENDLESS),
    backoff: None,
    final_timeout: ENDLESS,
};

enum Fault {
    Error,
    Hang,
}

#[derive(Debug, Eq, PartialEq)]
enum Seen {
    /// Rows of an attempt to write.
    Rows(Vec<u32>),
    Lost(usize),
}

/// Reports each attempt. The first ones have the given faults.
struct Recorder {
    faults: Mutex<VecDeque<Fault>>,
    has_pending: bool,
    seen: UnboundedSender<Seen>,
    with_pending: bool,
}

impl BatchWriter for Recorder {
    type Item = u32;
    type Row = u32;

    fn rows(&mut self, mut batch: Vec<u32>, _is_last: bool) -> Vec<u32> {
        batch.extend(self.close());
        self.has_pending = mem::take(&mut self.with_pending);
        batch
    }

    async fn write(&self, rows: &[u32]) -> Result<(), StoreError> {
        self.seen.send(Seen::Rows(rows.to_vec())).unwrap();
        let fault = self
            .faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        match fault {
            None => Ok(()),
            Some(Fault::Error) => Err(StoreError::Overloaded),
            Some(Fault::Hang) => pending().await,
        }
    }

    fn has_pending(&self) -> bool {
        self.has_pending
    }

    fn close(&mut self) -> Vec<u32> {
        let has_pending = mem::take(&mut self.has_pending);
        has_pending.then_some(PENDING).into_iter().collect()
    }

    fn report_lost(&self, count: usize) {
        self.seen.send(Seen::Lost(count)).unwrap();
    }
}

/// Running batcher.
struct Run {
    items: Sender<u32>,
    seen: UnboundedReceiver<Seen>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Run {
    /// Starts a batcher whose queue has items.
    fn start(limits: Limits, items: &[u32], faults: Vec<Fault>, with_pending: bool) -> Self {
        let (sender, seen) = unbounded_channel();
        let recorder = Recorder {
            faults: Mutex::new(faults.into()),
            has_pending: false,
            seen: sender,
            with_pending,
        };
        let (queue, batcher) = Batcher::new(limits, recorder);
        for item in items {
            queue.try_send(*item).unwrap();
        }
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(batcher.run(async {
            let _ = stopped.await;
        }));
        Self {
            items: queue,
            seen,
            stop,
            task,
        }
    }

    async fn next(&mut self) -> Seen {
        self.seen.recv().await.unwrap()
    }

    /// Waits until the batcher has taken all items.
    async fn until_taken(&self) {
        while self.items.capacity() < self.items.max_capacity() {
            yield_now().await;
        }
    }

    /// Stops the batcher, and returns what it did until its end.
    async fn stop(mut self) -> Vec<Seen> {
        let _ = self.stop.send(());
        self.task.await.unwrap();
        assert!(self.items.try_send(0).is_err(), "the queue is closed");
        let mut all = Vec::new();
        while let Some(seen) = self.seen.recv().await {
            all.push(seen);
        }
        all
    }
}

fn rows(rows: &[u32]) -> Seen {
    Seen::Rows(rows.to_vec())
}

#[tokio::test]
async fn stop_writes_each_accepted_item_even_if_a_write_fails() {
    let run = Run::start(LIMITS, &[1, 2, 3, 4, 5, 6, 7, 8], vec![Fault::Error], false);
    assert!(run.items.try_send(9).is_err(), "the queue is full");
    let seen = run.stop().await;
    assert_eq!(seen, [rows(&[1, 2, 3, 4]), rows(&[5, 6, 7, 8])]);
}

#[tokio::test]
async fn dropped_senders_end_the_run_like_a_stop() {
    let mut run = Run::start(LIMITS, &[1, 2], Vec::new(), true);
    drop(mem::replace(&mut run.items, unused_sender()));
    assert_eq!(run.next().await, rows(&[1, 2]));
    assert_eq!(run.next().await, rows(&[PENDING]));
    run.task.await.unwrap();
}

fn unused_sender() -> Sender<u32> {
    channel(1).0
}

#[tokio::test]
async fn collecting_batch_is_written_when_it_is_full_or_at_a_stop() {
    let mut run = Run::start(LIMITS, &[1, 2], Vec::new(), false);
    run.until_taken().await;
    for item in 3..=5 {
        run.items.try_send(item).unwrap();
    }
    assert_eq!(run.next().await, rows(&[1, 2, 3, 4]));
    run.until_taken().await;
    assert_eq!(run.stop().await, [rows(&[5])]);
}

#[tokio::test]
async fn collecting_batch_is_written_after_the_linger() {
    let limits = Limits {
        linger: Linger::Collect(SHORT),
        ..LIMITS
    };
    let mut run = Run::start(limits, &[1, 2], Vec::new(), false);
    assert_eq!(run.next().await, rows(&[1, 2]));
}

#[tokio::test]
async fn pause_delays_only_the_items_after_a_partly_filled_batch() {
    let limits = Limits {
        linger: Linger::Pause(ENDLESS),
        ..LIMITS
    };
    let mut run = Run::start(limits, &[1, 2, 3, 4, 5], Vec::new(), false);
    assert_eq!(run.next().await, rows(&[1, 2, 3, 4]));
    assert_eq!(run.next().await, rows(&[5]));
    run.items.try_send(6).unwrap();
    yield_now().await;
    assert!(run.seen.is_empty(), "the batcher pauses");
    assert_eq!(run.stop().await, [rows(&[6])]);
}

#[tokio::test]
async fn failed_write_is_repeated_with_the_same_rows() {
    let limits = Limits {
        backoff: Some(SHORT),
        ..LIMITS
    };
    let faults = vec![Fault::Error, Fault::Error];
    let mut run = Run::start(limits, &[1, 2, 3, 4], faults, true);
    for _ in 0..3 {
        assert_eq!(run.next().await, rows(&[1, 2, 3, 4]));
    }
    assert_eq!(run.stop().await, [rows(&[PENDING])]);
}

#[tokio::test]
async fn stop_ends_the_back_off_with_one_more_attempt() {
    let limits = || Limits {
        backoff: Some(ENDLESS),
        ..LIMITS
    };
    let items = [1, 2, 3, 4, 5, 6];
    let mut run = Run::start(limits(), &items, vec![Fault::Error], false);
    assert_eq!(run.next().await, rows(&[1, 2, 3, 4]));
    assert_eq!(run.stop().await, [rows(&[1, 2, 3, 4]), rows(&[5, 6])]);

    let faults = vec![Fault::Error, Fault::Error];
    let mut run = Run::start(limits(), &items, faults, false);
    assert_eq!(run.next().await, rows(&[1, 2, 3, 4]));
    assert_eq!(run.stop().await, [rows(&[1, 2, 3, 4]), Seen::Lost(6)]);
}

#[tokio::test]
async fn hanging_write_after_a_stop_ends_at_the_time_limit() {
    let limits = Limits {
        backoff: Some(ENDLESS),
        final_timeout: SHORT,
        ..LIMITS
    };
    let run = Run::start(limits, &[1, 2], vec![Fault::Hang], false);
    run.until_taken().await;
    assert_eq!(run.stop().await, [rows(&[1, 2]), Seen::Lost(2)]);
}

#[tokio::test]
async fn pending_rows_follow_after_the_linger_without_further_items() {
    let limits = Limits {
        linger: Linger::Collect(SHORT),
        ..LIMITS
    };
    let mut run = Run::start(limits, &[1], Vec::new(), true);
    assert_eq!(run.next().await, rows(&[1]));
    assert_eq!(run.next().await, rows(&[PENDING]));
    assert!(run.stop().await.is_empty());
}
