//! Indices of the workers' connections.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Indices in use.
#[derive(Clone, Default)]
pub(super) struct Workers(Arc<Mutex<BTreeSet<usize>>>);

/// Index of one worker, free again when it is dropped.
pub(super) struct Worker {
    index: usize,
    workers: Workers,
}

impl Workers {
    /// Takes the lowest free index below `limit`.
    pub(super) fn take(&self, limit: usize) -> Option<Worker> {
        let mut used = self.used();
        let index = (0..limit).find(|index| !used.contains(index))?;
        used.insert(index);
        drop(used);
        Some(Worker {
            index,
            workers: self.clone(),
        })
    }

    fn used(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    pub(super) const fn index(&self) -> usize {
        self.index
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.workers.used().remove(&self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::Workers;

    #[test]
    fn worker_that_replaces_another_gets_its_index() {
        let workers = Workers::default();
        let first = workers.take(2).unwrap();
        let second = workers.take(2).unwrap();
        assert_eq!((first.index(), second.index()), (0, 1));
        assert!(workers.take(2).is_none());
        drop(first);
        assert_eq!(workers.take(2).map(|worker| worker.index()), Some(0));
    }
}
