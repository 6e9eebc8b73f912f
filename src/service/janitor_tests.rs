//! Looks at Redis while the database is slow.

use std::{
    future::poll_fn,
    sync::atomic::{AtomicUsize, Ordering},
    task::Poll,
};

use async_trait::async_trait;

use super::*;
use crate::ports::{BlacklistStatus, Lookup, TokenRef};

/// Counts the looks at it. One of them finds the memory lost.
struct Looks {
    count: AtomicUsize,
    lost: usize,
}

#[async_trait]
impl Blacklist for Looks {
    async fn probe(&self) -> Result<Probe, StoreError> {
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        let state = if number == self.lost {
            CacheState::Unknown
        } else {
            CacheState::Current
        };
        Ok(Probe {
            state,
            number: 0,
            connection: 0,
        })
    }

    async fn check(&self, _: &TokenRef) -> Lookup {
        Lookup::Unknown
    }
    async fn write(&self, _: &[(BlacklistEntry, TimeDelta)]) -> Result<(), StoreError> {
        Ok(())
    }
    async fn write_best_effort(&self, _: &[(BlacklistEntry, TimeDelta)]) -> Result<(), StoreError> {
        Ok(())
    }
    fn trust(&self, _: &Probe) {}
    async fn start_rebuild(&self) -> Result<u64, StoreError> {
        Ok(0)
    }
    fn record_failed_rebuild(&self) {}
    async fn finish_rebuild(&self, _: u64) -> Result<bool, StoreError> {
        Ok(false)
    }
    fn status(&self) -> BlacklistStatus {
        BlacklistStatus::default()
    }
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Work that completes after a number of looks.
async fn worked(looks: &Looks, long: usize) -> (usize, bool) {
    let work = poll_fn(|_| match looks.count.load(Ordering::SeqCst) {
        count if count >= long => Poll::Ready(count),
        _ => Poll::Pending,
    });
    while_probing(looks, Duration::from_millis(1), work).await
}

#[tokio::test]
async fn epochs_are_renewed_while_the_database_is_slow() {
    let looks = Looks {
        count: AtomicUsize::new(0),
        lost: 0,
    };
    assert_eq!(worked(&looks, 3).await, (3, true));
}

#[tokio::test]
async fn a_memory_that_was_lost_meanwhile_does_not_count_as_kept() {
    let looks = Looks {
        count: AtomicUsize::new(0),
        lost: 2,
    };
    assert_eq!(worked(&looks, 4).await, (4, false));
}
