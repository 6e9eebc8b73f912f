//! Write check of the embedded database. On a full disk, reads still succeed, so a failed write is
//! recorded until a write succeeds.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use diesel::{QueryResult, result::Error};
use diesel_async::SimpleAsyncConnection as _;

use super::{
    SqlStore,
    error::from_query,
    pool::{PoolKind, with_conn},
};
use latchkey_domain::ports::StoreError;

/// SQLite's messages about a file that cannot be written. A busy database is not one of them.
const FAILURES: [&str; 4] = [
    "attempt to write a readonly database",
    "database or disk is full",
    "disk I/O error",
    "unable to open database file",
];

/// Write that changes nothing but reaches the disk. SQLite skips an update to the same value, so
/// there are two.
const PROBE: &str = "BEGIN IMMEDIATE;
    UPDATE signing_key_ring SET version = version + 1;
    UPDATE signing_key_ring SET version = version - 1;
    COMMIT";

/// Interval of probes while writes succeed. While they fail, each call probes.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// Outcome of the last write.
#[derive(Debug)]
pub(super) struct WriteHealth(Mutex<Last>);

#[derive(Debug)]
struct Last {
    failure: Option<String>,
    probed: Instant,
}

impl Default for WriteHealth {
    fn default() -> Self {
        Self(Mutex::new(Last {
            failure: None,
            probed: Instant::now(),
        }))
    }
}

impl WriteHealth {
    /// Records the failure of a statement if the disk caused it.
    pub(super) fn record<T>(&self, outcome: &Result<QueryResult<T>, StoreError>) {
        if let Ok(Err(error)) = outcome
            && let Some(failure) = failure(error)
        {
            self.last().failure = Some(failure.to_owned());
        }
    }

    /// Fails if the last write failed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] with SQLite's message.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.last()
            .failure
            .clone()
            .map_or(Ok(()), |failure| Err(StoreError::Unavailable(failure)))
    }

    /// Returns true if a probe is due.
    fn is_due(&self) -> bool {
        let mut last = self.last();
        let due = last.failure.is_some() || last.probed.elapsed() >= PROBE_INTERVAL;
        if due {
            last.probed = Instant::now();
        }
        due
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failure(error: &Error) -> Option<&str> {
    match error {
        Error::DatabaseError(_, information) => {
            Some(information.message()).filter(|text| FAILURES.contains(text))
        }
        Error::RollbackErrorOnCommit { commit_error, .. } => failure(commit_error),
        _ => None,
    }
}

impl SqlStore {
    /// Probes the embedded database if a probe is due, and records the outcome.
    pub(super) async fn probe_writes(&self) -> Result<(), StoreError> {
        let PoolKind::Sqlite(pool) = &self.pool.kind else {
            return Ok(());
        };
        if !self.pool.writes.is_due() {
            return Ok(());
        }
        let outcome = with_conn!(pool, self.pool, |conn| {
            let written = conn.batch_execute(PROBE).await;
            if written.is_err() {
                // A failed transaction may still be open.
                let _ = conn.batch_execute("ROLLBACK").await;
            }
            written
        });
        match &outcome {
            Ok(Ok(())) => self.pool.writes.last().failure = None,
            outcome => self.pool.writes.record(outcome),
        }
        // Another process may lock the database for longer. That is no fault of the disk.
        match outcome? {
            Err(error) if failure(&error).is_none() => Ok(()),
            outcome => outcome.map_err(from_query),
        }
    }
}
