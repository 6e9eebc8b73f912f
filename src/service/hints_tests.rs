//! The queue of marks: batches, room, and the end.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::TimeDelta;
use tokio::sync::watch;

use super::{ROOM, channel};
use crate::{
    domain::ids::{SessionId, UserId},
    ports::{Blacklist, BlacklistStatus, Look, Mark, StoreError, TokenRef, Verdict},
};

/// Notes how many marks it was given at once.
#[derive(Default)]
struct Notes(Mutex<Vec<usize>>);

#[async_trait]
impl Blacklist for Notes {
    async fn fill(&self, marks: &[(Mark, TimeDelta)]) -> Result<(), StoreError> {
        self.0.lock().unwrap().push(marks.len());
        Err(StoreError::Unavailable(
            "it is noted all the same".to_owned(),
        ))
    }

    async fn check(&self, _: &TokenRef) -> Verdict {
        Verdict::Unknown
    }
    async fn write(&self, _: &[(Mark, TimeDelta)]) -> Result<(), StoreError> {
        Ok(())
    }
    async fn look(&self) -> Result<Look, StoreError> {
        Err(StoreError::Unavailable(String::new()))
    }
    fn believe(&self, _: &Look) {}
    async fn start_rebuild(&self) -> Result<u64, StoreError> {
        Ok(0)
    }
    fn note_failed_rebuild(&self) {}
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

fn mark() -> Mark {
    let session = SessionId::parse("00000000-0000-4000-8000-000000000000").unwrap();
    Mark::Rotated {
        session,
        user: UserId::new("ada"),
        generation: 1,
    }
}

#[tokio::test]
async fn what_waits_at_a_stop_is_written_in_batches_and_what_has_no_room_is_dropped() {
    let notes = Arc::new(Notes::default());
    let (hints, writer) = channel(Arc::clone(&notes) as _);
    for _ in 0..ROOM + 10 {
        hints.give(mark(), TimeDelta::hours(1));
    }
    let (stop, stopped) = watch::channel(false);
    stop.send(true).unwrap();
    writer.run(stopped).await;
    assert_eq!(*notes.0.lock().unwrap(), [256; 16]);
    hints.give(mark(), TimeDelta::hours(1));
}
