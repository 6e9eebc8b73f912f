//! Bulkhead: each key (a session, a source) has a limited number of places, so that its requests
//! cannot starve others. `mod.rs` sets the limits of requests and of sign-ins.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher as _, Hash},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Number of locks. Sharding reduces contention between threads.
const SHARDS: usize = 16;

/// Limits of a bulkhead for one key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Size {
    /// Maximum number of requests in progress.
    pub places: usize,
    /// Maximum number of waiting requests.
    pub queue: usize,
}

/// Keys with requests at present. Clones share them.
#[derive(Clone)]
pub(super) struct Bulkhead<K: Eq + Hash>(Arc<Shared<K>>);

struct Shared<K> {
    hasher: RandomState,
    shards: [Mutex<HashMap<K, Slot>>; SHARDS],
}

struct Slot {
    places: Arc<Semaphore>,
    /// Number of requests in progress or waiting.
    requests: usize,
}

/// Permission for one request. Dropping it admits the next request in the queue.
pub(super) struct Place<K: Eq + Hash> {
    // Dropped in this order: the permit is released before the request is uncounted, so a key with
    // a waiting request is never removed.
    _permit: OwnedSemaphorePermit,
    _entry: Entry<K>,
}

/// Counted request of a key. Dropping it uncounts the request.
struct Entry<K: Eq + Hash> {
    bulkhead: Bulkhead<K>,
    key: K,
}

impl<K: Clone + Eq + Hash> Bulkhead<K> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            hasher: RandomState::new(),
            shards: Default::default(),
        }))
    }

    /// Waits for a place, in order of arrival. Returns `None` immediately if the queue is full.
    /// Dropping the future leaves the queue.
    pub(super) async fn enter(&self, key: K, size: Size) -> Option<Place<K>> {
        let (entry, places) = self.join(key, size)?;
        let permit = match Arc::clone(&places).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => Box::pin(places.acquire_owned()).await.ok()?,
        };
        Some(Place {
            _permit: permit,
            _entry: entry,
        })
    }

    fn join(&self, key: K, size: Size) -> Option<(Entry<K>, Arc<Semaphore>)> {
        let mut shard = self.shard(&key);
        let slot = shard.entry(key.clone()).or_insert_with(|| Slot {
            places: Arc::new(Semaphore::new(size.places)),
            requests: 0,
        });
        if slot.requests >= size.places + size.queue {
            return None;
        }
        slot.requests += 1;
        let places = Arc::clone(&slot.places);
        drop(shard);
        Some((
            Entry {
                bulkhead: self.clone(),
                key,
            },
            places,
        ))
    }
}

impl<K: Eq + Hash> Bulkhead<K> {
    fn shard(&self, key: &K) -> MutexGuard<'_, HashMap<K, Slot>> {
        let Shared { hasher, shards } = &*self.0;
        let index = usize::try_from(hasher.hash_one(key) % SHARDS as u64).unwrap_or_default();
        let shard = shards.get(index).unwrap_or(&shards[0]);
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn keys(&self) -> usize {
        self.0
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap().len())
            .sum()
    }
}

impl<K: Eq + Hash> Drop for Entry<K> {
    fn drop(&mut self) {
        let mut shard = self.bulkhead.shard(&self.key);
        if let Some(slot) = shard.get_mut(&self.key) {
            slot.requests -= 1;
            if slot.requests == 0 {
                shard.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const SIZE: Size = Size {
        places: 2,
        queue: 1,
    };

    #[tokio::test]
    async fn full_queue_refuses_without_affecting_other_keys() {
        let bulkhead = Bulkhead::new();
        let (first, _second) = (
            bulkhead.enter("a", SIZE).await.unwrap(),
            bulkhead.enter("a", SIZE).await.unwrap(),
        );
        let mut waiting = Box::pin(bulkhead.enter("a", SIZE));
        assert!(
            waiting.as_mut().now_or_never().is_none(),
            "no place is free"
        );
        assert!(
            bulkhead.enter("a", SIZE).await.is_none(),
            "the queue is full"
        );
        assert!(bulkhead.enter("b", SIZE).now_or_never().flatten().is_some());
        drop(first);
        assert!(waiting.await.is_some());
    }

    #[tokio::test]
    async fn dropped_request_leaves_the_queue() {
        let bulkhead = Bulkhead::new();
        let places = (
            bulkhead.enter(1, SIZE).await.unwrap(),
            bulkhead.enter(1, SIZE).await.unwrap(),
        );
        for _ in 0..10 {
            let mut waiting = Box::pin(bulkhead.enter(1, SIZE));
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        drop(places);
        assert_eq!(bulkhead.keys(), 0, "a key without requests uses no memory");
    }
}
