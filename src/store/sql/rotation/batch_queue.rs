//! Where those wait who come while as many statements are under way as may be.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A line of waiting items and the runners who serve it.
pub(super) struct BatchQueue<T> {
    rule: Limits,
    state: Mutex<State<T>>,
}

/// How many runners there may be.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// As a rule: fewer runners take more at once.
    pub concurrency: usize,
    /// Where nobody has taken anything for longer than `patience`: what the others wait for may never come.
    pub max_concurrency: usize,
    pub stall_after: Duration,
}

struct State<T> {
    items: VecDeque<T>,
    flushers: usize,
    /// When something was taken last.
    taken: Option<Instant>,
    /// One of the runners has not taken anything yet: it will also take what comes until then.
    starting: bool,
}

/// The right to serve a line, and the duty: whoever has it goes on until it [is over](Runner::is_over).
pub(super) struct Flusher<T> {
    line: Arc<BatchQueue<T>>,
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
    pub(super) fn new(rule: Limits) -> Self {
        let state = State {
            items: VecDeque::new(),
            flushers: 0,
            taken: None,
            starting: false,
        };
        Self {
            rule,
            state: Mutex::new(state),
        }
    }

    /// Goes to the end of the line. With a runner, if one has to be started for it.
    pub(super) fn push(self: &Arc<Self>, item: T, now: Instant) -> Option<Flusher<T>> {
        let mut state = self.state();
        state.items.push_back(item);
        let slow = state
            .taken
            .is_some_and(|taken| now.saturating_duration_since(taken) > self.rule.stall_after);
        if state.starting
            || state.flushers
                >= if slow {
                    self.rule.max_concurrency
                } else {
                    self.rule.concurrency
                }
        {
            return None;
        }
        state.starting = true;
        state.flushers += 1;
        Some(Flusher {
            line: Arc::clone(self),
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
    /// Whether nobody waits; then this runner has ended, and the next who comes brings another.
    pub(super) fn ends_if_empty(&mut self) -> bool {
        let mut state = self.line.state();
        let over = state.items.is_empty();
        if over {
            self.stage.end(&mut state);
        }
        over
    }

    /// The first in the line who are `meant`, up to `most`.
    pub(super) fn next_batch(
        &mut self,
        most: usize,
        now: Instant,
        meant: impl Fn(&T) -> bool,
    ) -> Vec<T> {
        let mut state = self.line.state();
        state.taken = Some(now);
        if mem::replace(&mut self.stage, Stage::Running) == Stage::Starting {
            state.starting = false;
        }
        let count = state
            .items
            .iter()
            .take(most)
            .take_while(|item| meant(item))
            .count();
        state.items.drain(..count).collect()
    }
}

/// A runner may go away with its thread. Its place is free then, and where it was the last, nobody is left behind who
/// would wait for the next to come.
impl<T> Drop for Flusher<T> {
    fn drop(&mut self) {
        let mut state = self.line.state();
        self.stage.end(&mut state);
        let left = if state.flushers == 0 {
            mem::take(&mut state.items)
        } else {
            VecDeque::new()
        };
        drop(state);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(100);

    fn queue(usual: usize) -> Arc<BatchQueue<u32>> {
        Arc::new(BatchQueue::new(Limits {
            concurrency: usual,
            max_concurrency: usual + 1,
            stall_after: PATIENCE,
        }))
    }

    fn anybody<T>(_: &T) -> bool {
        true
    }

    #[test]
    fn the_first_brings_a_runner_that_takes_all_who_came_until_it_looked() {
        let (line, now) = (queue(2), Instant::now());
        let mut runner = line.push(1, now).unwrap();
        assert!(
            line.push(2, now).is_none() && !runner.ends_if_empty() && line.push(3, now).is_none()
        );
        assert_eq!(runner.next_batch(2, now, anybody), [1, 2]);
        assert_eq!(runner.next_batch(2, now, anybody), [3]);
        assert!(runner.next_batch(2, now, anybody).is_empty() && runner.ends_if_empty());
        assert!(line.push(4, now).is_some(), "it has ended");
    }

    #[test]
    fn while_as_many_run_as_may_the_others_wait_for_whichever_is_free_first() {
        let (line, now) = (queue(2), Instant::now());
        let mut first = line.push(1, now).unwrap();
        assert_eq!(first.next_batch(9, now, anybody), [1]);
        let mut second = line.push(2, now).unwrap();
        assert_eq!(second.next_batch(9, now, anybody), [2]);
        assert!(line.push(3, now).is_none() && line.push(4, now).is_none());
        assert_eq!(line.length(), 2);
        assert_eq!(second.next_batch(9, now, anybody), [3, 4]);
        assert!(first.ends_if_empty() && first.ends_if_empty());
        let third = line.push(5, now);
        assert!(third.is_some() && line.push(6, now).is_none());
    }

    #[test]
    fn where_all_are_slow_another_may_run_but_not_any_number() {
        let (line, now) = (queue(1), Instant::now());
        let mut first = line.push(1, now).unwrap();
        assert_eq!(first.next_batch(9, now, anybody), [1]);
        assert!(line.push(2, now + PATIENCE).is_none());
        let later = now + PATIENCE + Duration::from_millis(1);
        let mut second = line.push(3, later).unwrap();
        assert_eq!(second.next_batch(9, later, anybody), [2, 3]);
        assert!(
            line.push(4, later + PATIENCE * 9).is_none(),
            "the most there may be"
        );
    }

    #[test]
    fn those_who_are_not_meant_stay_and_so_do_all_behind_them() {
        let (line, now) = (queue(1), Instant::now());
        let mut runner = line.push(1, now).unwrap();
        (2..=4).for_each(|item| assert!(line.push(item, now).is_none()));
        assert_eq!(runner.next_batch(9, now, |item| *item != 3), [1, 2]);
        assert!(!runner.ends_if_empty());
        assert_eq!(runner.next_batch(9, now, anybody), [3, 4]);
    }

    #[test]
    fn a_runner_that_goes_away_before_or_after_it_looked_leaves_nobody_behind() {
        let (line, now) = (queue(2), Instant::now());
        drop(line.push(1, now).unwrap());
        assert_eq!(line.length(), 0);
        let mut first = line.push(2, now).unwrap();
        assert_eq!(first.next_batch(1, now, anybody), [2]);
        let mut second = line.push(3, now).unwrap();
        drop(first);
        assert_eq!(
            second.next_batch(9, now, anybody),
            [3],
            "one is left who serves them"
        );
        assert!(second.ends_if_empty() && line.push(4, now).is_some());
    }
}
