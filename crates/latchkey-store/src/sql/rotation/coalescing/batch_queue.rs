//! Queue of items that wait for the next batch, and the limit of concurrent flushers.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Queue of waiting items and the state of its flushers.
pub(super) struct BatchQueue<T> {
    limits: Limits,
    state: Mutex<State<T>>,
}

/// Limits of concurrent flushers.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Usual maximum. Fewer flushers take larger batches.
    pub concurrency: usize,
    /// Maximum while no batch was taken for longer than `stall_after`, because the running
    /// statements may hang.
    pub max_concurrency: usize,
    pub stall_after: Duration,
}

struct State<T> {
    items: VecDeque<T>,
    flushers: usize,
    /// Time of the last batch.
    last_batch_at: Option<Instant>,
    /// True while a flusher has not taken its first batch. It will also take items that arrive
    /// until then.
    starting: bool,
}

/// Right and duty to flush a queue, until [`ends_if_empty`](Flusher::ends_if_empty) returns true.
pub(super) struct Flusher<T> {
    queue: Arc<BatchQueue<T>>,
    stage: Stage,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Stage {
    Starting,
    Running,
    Ended,
}

impl Stage {
    fn end<T>(&mut self, state: &mut State<T>) {
        match mem::replace(self, Self::Ended) {
            Self::Starting => (state.starting, state.flushers) = (false, state.flushers - 1),
            Self::Running => state.flushers -= 1,
            Self::Ended => {}
        }
    }
}

impl<T> BatchQueue<T> {
    pub(super) fn new(limits: Limits) -> Self {
        let state = State {
            items: VecDeque::new(),
            flushers: 0,
            last_batch_at: None,
            starting: false,
        };
        Self {
            limits,
            state: Mutex::new(state),
        }
    }

    /// Appends an item. Returns a flusher if one must be started.
    pub(super) fn push(self: &Arc<Self>, item: T, now: Instant) -> Option<Flusher<T>> {
        let mut state = self.state();
        state.items.push_back(item);
        let stalled = state.last_batch_at.is_some_and(|last_batch_at| {
            now.saturating_duration_since(last_batch_at) > self.limits.stall_after
        });
        let limit = if stalled {
            self.limits.max_concurrency
        } else {
            self.limits.concurrency
        };
        if state.starting || state.flushers >= limit {
            return None;
        }
        state.starting = true;
        state.flushers += 1;
        Some(Flusher {
            queue: Arc::clone(self),
            stage: Stage::Starting,
        })
    }

    pub(super) fn length(&self) -> usize {
        self.state().items.len()
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Flusher<T> {
    /// Returns true if the queue is empty. This flusher has then ended, and the next item starts
    /// another.
    pub(super) fn ends_if_empty(&mut self) -> bool {
        let mut state = self.queue.state();
        let is_empty = state.items.is_empty();
        if is_empty {
            self.stage.end(&mut state);
        }
        is_empty
    }

    /// Takes items from the front while they are `eligible`, up to `max`.
    pub(super) fn next_batch(
        &mut self,
        max: usize,
        now: Instant,
        eligible: impl Fn(&T) -> bool,
    ) -> Vec<T> {
        let mut state = self.queue.state();
        state.last_batch_at = Some(now);
        if mem::replace(&mut self.stage, Stage::Running) == Stage::Starting {
            state.starting = false;
        }
        let count = state
            .items
            .iter()
            .take(max)
            .take_while(|item| eligible(item))
            .count();
        state.items.drain(..count).collect()
    }
}

/// A flusher may be dropped with its thread. It then frees its slot. If it was the last one,
/// waiting items are dropped, because no flusher would serve them before the next push.
impl<T> Drop for Flusher<T> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        self.stage.end(&mut state);
        let abandoned = if state.flushers == 0 {
            mem::take(&mut state.items)
        } else {
            VecDeque::new()
        };
        drop(state);
        drop(abandoned);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL_AFTER: Duration = Duration::from_millis(100);

    fn queue_with(concurrency: usize) -> Arc<BatchQueue<u32>> {
        Arc::new(BatchQueue::new(Limits {
            concurrency,
            max_concurrency: concurrency + 1,
            stall_after: STALL_AFTER,
        }))
    }

    fn any<T>(_: &T) -> bool {
        true
    }

    #[test]
    fn first_item_starts_a_flusher_that_takes_all_waiting_items() {
        let (queue, now) = (queue_with(2), Instant::now());
        let mut flusher = queue.push(1, now).unwrap();
        assert!(
            queue.push(2, now).is_none()
                && !flusher.ends_if_empty()
                && queue.push(3, now).is_none()
        );
        assert_eq!(flusher.next_batch(2, now, any), [1, 2]);
        assert_eq!(flusher.next_batch(2, now, any), [3]);
        assert!(flusher.next_batch(2, now, any).is_empty() && flusher.ends_if_empty());
        assert!(queue.push(4, now).is_some(), "the flusher has ended");
    }

    #[test]
    fn items_at_the_concurrency_limit_wait_for_a_flusher() {
        let (queue, now) = (queue_with(2), Instant::now());
        let mut first = queue.push(1, now).unwrap();
        assert_eq!(first.next_batch(9, now, any), [1]);
        let mut second = queue.push(2, now).unwrap();
        assert_eq!(second.next_batch(9, now, any), [2]);
        assert!(queue.push(3, now).is_none() && queue.push(4, now).is_none());
        assert_eq!(queue.length(), 2);
        assert_eq!(second.next_batch(9, now, any), [3, 4]);
        assert!(first.ends_if_empty() && first.ends_if_empty());
        let third = queue.push(5, now);
        assert!(third.is_some() && queue.push(6, now).is_none());
    }

    #[test]
    fn stalled_flushers_allow_one_more_up_to_the_maximum() {
        let (queue, now) = (queue_with(1), Instant::now());
        let mut first = queue.push(1, now).unwrap();
        assert_eq!(first.next_batch(9, now, any), [1]);
        assert!(queue.push(2, now + STALL_AFTER).is_none());
        let later = now + STALL_AFTER + Duration::from_millis(1);
        let mut second = queue.push(3, later).unwrap();
        assert_eq!(second.next_batch(9, later, any), [2, 3]);
        assert!(
            queue.push(4, later + STALL_AFTER * 9).is_none(),
            "the limit is reached"
        );
    }

    #[test]
    fn ineligible_item_and_all_behind_it_stay_queued() {
        let (queue, now) = (queue_with(1), Instant::now());
        let mut flusher = queue.push(1, now).unwrap();
        (2..=4).for_each(|item| assert!(queue.push(item, now).is_none()));
        assert_eq!(flusher.next_batch(9, now, |item| *item != 3), [1, 2]);
        assert!(!flusher.ends_if_empty());
        assert_eq!(flusher.next_batch(9, now, any), [3, 4]);
    }

    #[test]
    fn dropped_flusher_leaves_no_item_unserved() {
        let (queue, now) = (queue_with(2), Instant::now());
        drop(queue.push(1, now).unwrap());
        assert_eq!(queue.length(), 0);
        let mut first = queue.push(2, now).unwrap();
        assert_eq!(first.next_batch(1, now, any), [2]);
        let mut second = queue.push(3, now).unwrap();
        drop(first);
        assert_eq!(
            second.next_batch(9, now, any),
            [3],
            "the remaining flusher serves the queue"
        );
        assert!(second.ends_if_empty() && queue.push(4, now).is_some());
    }
}
