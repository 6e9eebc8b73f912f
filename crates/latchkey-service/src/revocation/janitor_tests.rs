//! Tests of the probes while the database is slow.

use std::{
    future::poll_fn,
    sync::atomic::{AtomicUsize, Ordering},
    task::Poll,
};

use async_trait::async_trait;

use super::*;
use latchkey_domain::ports::{BlacklistStatus, Lookup, TokenRef};

/// Counts the probes. One of them reports a lost cache.
struct ProbeCounter {
    count: AtomicUsize,
    lost: usize,
}

#[async_trait]
impl Blacklist for ProbeCounter {
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

/// Runs a task that completes after `probes` probes.
async fn run_slow_task(blacklist: &ProbeCounter, probes: usize) -> (usize, bool) {
    let work = poll_fn(|_| match blacklist.count.load(Ordering::SeqCst) {
        count if count >= probes => Poll::Ready(count),
        _ => Poll::Pending,
    });
    while_probing(blacklist, Duration::from_millis(1), work).await
}

#[tokio::test]
async fn slow_database_does_not_stop_the_probes() {
    let blacklist = ProbeCounter {
        count: AtomicUsize::new(0),
        lost: 0,
    };
    assert_eq!(run_slow_task(&blacklist, 3).await, (3, true));
}

#[tokio::test]
async fn cache_lost_meanwhile_is_reported() {
    let blacklist = ProbeCounter {
        count: AtomicUsize::new(0),
        lost: 2,
    };
    assert_eq!(run_slow_task(&blacklist, 4).await, (4, false));
}
