//! Tests of the write-behind queue: batches, capacity and stop.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::TimeDelta;
use tokio::sync::watch;

use super::{QUEUE_CAPACITY, channel};
use latchkey_domain::{
    ids::{SessionId, UserId},
    ports::{Blacklist, BlacklistEntry, BlacklistStatus, Lookup, Probe, StoreError, TokenRef},
};

/// Records the size of each batch.
#[derive(Default)]
struct Recorder(Mutex<Vec<usize>>);

#[async_trait]
impl Blacklist for Recorder {
    async fn write_best_effort(
        &self,
        entries: &[(BlacklistEntry, TimeDelta)],
    ) -> Result<(), StoreError> {
        self.0.lock().unwrap().push(entries.len());
        Err(StoreError::Unavailable(
            "recorded, but reported as a failure".to_owned(),
        ))
    }

    async fn check(&self, _: &TokenRef) -> Lookup {
        Lookup::Unknown
    }
    async fn write(&self, _: &[(BlacklistEntry, TimeDelta)]) -> Result<(), StoreError> {
        Ok(())
    }
    async fn probe(&self) -> Result<Probe, StoreError> {
        Err(StoreError::Unavailable(String::new()))
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

fn entry() -> BlacklistEntry {
    let session = SessionId::parse("00000000-0000-4000-8000-000000000000").unwrap();
    BlacklistEntry::GenerationRotated {
        session,
        user: UserId::new("ada"),
        generation: 1,
    }
}

#[tokio::test]
async fn stop_writes_the_queue_in_batches_and_excess_is_dropped() {
    let recorder = Arc::new(Recorder::default());
    let (queue, writer) = channel(Arc::clone(&recorder) as _);
    for _ in 0..QUEUE_CAPACITY + 10 {
        queue.enqueue(entry(), TimeDelta::hours(1));
    }
    let (stop, stopped) = watch::channel(false);
    stop.send(true).unwrap();
    writer.run(stopped).await;
    assert_eq!(*recorder.0.lock().unwrap(), [256; 16]);
    queue.enqueue(entry(), TimeDelta::hours(1));
}
