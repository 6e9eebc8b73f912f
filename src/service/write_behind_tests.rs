//! The queue of marks: batches, room, and the end.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::TimeDelta;
use tokio::sync::watch;

use super::{QUEUE_CAPACITY, channel};
use crate::{
    domain::ids::{SessionId, UserId},
    ports::{Blacklist, BlacklistEntry, BlacklistStatus, Lookup, Probe, StoreError, TokenRef},
};

/// Notes how many marks it was given at once.
#[derive(Default)]
struct Notes(Mutex<Vec<usize>>);

#[async_trait]
impl Blacklist for Notes {
    async fn write_best_effort(
        &self,
        marks: &[(BlacklistEntry, TimeDelta)],
    ) -> Result<(), StoreError> {
        self.0.lock().unwrap().push(marks.len());
        Err(StoreError::Unavailable(
            "it is noted all the same".to_owned(),
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

fn mark() -> BlacklistEntry {
    let session = SessionId::parse("00000000-0000-4000-8000-000000000000").unwrap();
    BlacklistEntry::GenerationRotated {
        session,
        user: UserId::new("ada"),
        generation: 1,
    }
}

#[tokio::test]
async fn what_waits_at_a_stop_is_written_in_batches_and_what_has_no_room_is_dropped() {
    let notes = Arc::new(Notes::default());
    let (hints, writer) = channel(Arc::clone(&notes) as _);
    for _ in 0..QUEUE_CAPACITY + 10 {
        hints.enqueue(mark(), TimeDelta::hours(1));
    }
    let (stop, stopped) = watch::channel(false);
    stop.send(true).unwrap();
    writer.run(stopped).await;
    assert_eq!(*notes.0.lock().unwrap(), [256; 16]);
    hints.enqueue(mark(), TimeDelta::hours(1));
}
