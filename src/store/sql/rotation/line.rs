//! Where those wait who come while as many statements are under way as may be.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A line of waiting items and the runners who serve it.
pub(super) struct Line<T> {
    most_runners: usize,
    state: Mutex<State<T>>,
}

struct State<T> {
    items: VecDeque<T>,
    runners: usize,
    /// One of the runners has not taken anything yet: it will also take what comes until then.
    starting: bool,
}

/// The right to serve a line, and the duty: whoever has it goes on until it [is over](Runner::is_over).
pub(super) struct Runner<T> {
    line: Arc<Line<T>>,
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
            Self::Starting => (state.starting, state.runners) = (false, state.runners - 1),
            Self::Running => state.runners -= 1,
            Self::Ended => {}
        }
    }
}

impl<T> Line<T> {
    pub(super) fn new(most_runners: usize) -> Self {
        Self { most_runners, state: Mutex::new(State { items: VecDeque::new(), runners: 0, starting: false }) }
    }

    /// Goes to the end of the line. With a runner, if one has to be started for it.
    pub(super) fn join(self: &Arc<Self>, item: T) -> Option<Runner<T>> {
        let mut state = self.state();
        state.items.push_back(item);
        if state.starting || state.runners == self.most_runners {
            return None;
        }
        state.starting = true;
        state.runners += 1;
        Some(Runner { line: Arc::clone(self), stage: Stage::Starting })
    }

    pub(super) fn length(&self) -> usize {
        self.state().items.len()
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Runner<T> {
    /// Whether nobody waits; then this runner has ended, and the next who comes brings another.
    pub(super) fn is_over(&mut self) -> bool {
        let mut state = self.line.state();
        let over = state.items.is_empty();
        if over {
            self.stage.end(&mut state);
        }
        over
    }

    /// The first in the line who are `meant`, up to `most`.
    pub(super) fn next(&mut self, most: usize, meant: impl Fn(&T) -> bool) -> Vec<T> {
        let mut state = self.line.state();
        if mem::replace(&mut self.stage, Stage::Running) == Stage::Starting {
            state.starting = false;
        }
        let count = state.items.iter().take(most).take_while(|item| meant(item)).count();
        state.items.drain(..count).collect()
    }
}

/// A runner that goes away with its thread leaves its place to the next.
impl<T> Drop for Runner<T> {
    fn drop(&mut self) {
        let mut state = self.line.state();
        self.stage.end(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(most_runners: usize) -> Arc<Line<u32>> {
        Arc::new(Line::new(most_runners))
    }

    fn anybody(_: &u32) -> bool {
        true
    }

    #[test]
    fn the_first_brings_a_runner_that_takes_all_who_came_until_it_looked() {
        let line = line(2);
        let mut runner = line.join(1).unwrap();
        assert!(line.join(2).is_none() && !runner.is_over() && line.join(3).is_none());
        assert_eq!(runner.next(2, anybody), [1, 2]);
        assert_eq!(runner.next(2, anybody), [3]);
        assert!(runner.next(2, anybody).is_empty() && runner.is_over());
        assert!(line.join(4).is_some(), "it has ended");
    }

    #[test]
    fn while_as_many_run_as_may_the_others_wait_for_whichever_is_free_first() {
        let line = line(2);
        let mut first = line.join(1).unwrap();
        assert_eq!(first.next(9, anybody), [1]);
        let mut second = line.join(2).unwrap();
        assert_eq!(second.next(9, anybody), [2]);
        assert!(line.join(3).is_none() && line.join(4).is_none());
        assert_eq!(line.length(), 2);
        assert_eq!(second.next(9, anybody), [3, 4]);
        assert!(first.is_over() && first.is_over());
        let third = line.join(5);
        assert!(third.is_some() && line.join(6).is_none());
    }

    #[test]
    fn those_who_are_not_meant_stay_and_so_do_all_behind_them() {
        let line = line(1);
        let mut runner = line.join(1).unwrap();
        (2..=4).for_each(|item| assert!(line.join(item).is_none()));
        assert_eq!(runner.next(9, |item| *item != 3), [1, 2]);
        assert!(!runner.is_over());
        assert_eq!(runner.next(9, anybody), [3, 4]);
    }

    #[test]
    fn a_runner_that_goes_away_before_or_after_it_looked_blocks_nobody() {
        let line = line(1);
        drop(line.join(1).unwrap());
        let mut runner = line.join(2).unwrap();
        assert_eq!(runner.next(1, anybody), [1]);
        drop(runner);
        let mut runner = line.join(3).unwrap();
        assert_eq!(runner.next(9, anybody), [2, 3]);
        assert!(runner.is_over());
        drop(runner);
        assert!(line.join(4).is_some());
    }
}
