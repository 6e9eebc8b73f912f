//! Those who wait to rotate on one pool's connections, and who asks for them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use diesel_async::{
    AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _,
    pooled_connection::deadpool::Pool,
};
use tokio::{runtime::Handle, sync::oneshot};

use super::{
    attempt::{Attempt, RotatedRow},
    batch_queue::{BatchQueue, Flusher, Limits},
    batch_statement::RotateBatch,
};
use crate::{
    domain::session::SessionState,
    ports::{Clock, Rotation, StoreError},
    store::sql::{
        error::from_query,
        pool::{PoolLimits, with_timeout},
        pooled_conn::PooledConn,
        server_clock::ServerClock,
    },
};

/// Statements under way at once, for each pool. While one is written to the disk another can be worked on; more would
/// only make each smaller.
const CONCURRENT_BATCHES: usize = 2;

/// Sessions in one statement: what takes Postgres some two milliseconds.
const MAX_BATCH_SIZE: usize = 64;

/// The maximum number of waiting rotations. A pool writes them in some tens of milliseconds.
const QUEUE_CAPACITY: usize = 1024;

/// The part of the time limit after which statements under way are slow, and no reason to wait.
const STALL_FRACTION: u32 = 20;

/// The rotations that go over the connections of one pool.
pub(in crate::store::sql) struct RotationCoalescer {
    clock: ServerClock,
    connections: Pool<AsyncPgConnection>,
    line: Arc<BatchQueue<PendingRotation>>,
    runtime: Option<Handle>,
    timeout: Duration,
}

/// What became of a rotation in a statement with others.
pub(in crate::store::sql) enum BatchOutcome {
    Rotated(Box<SessionState>),
    /// It was not done there. That says nothing about why.
    NotInBatch(Rotation),
}

struct PendingRotation {
    rotation: Rotation,
    clock: Arc<dyn Clock>,
    since: Instant,
    answer: Answer,
}

type Answer = oneshot::Sender<Result<BatchOutcome, StoreError>>;

impl RotationCoalescer {
    /// `runtime` is that which drives the connections; `None`: that of whoever rotates.
    pub(in crate::store::sql) fn new(
        connections: Pool<AsyncPgConnection>,
        clock: ServerClock,
        limits: PoolLimits,
        runtime: Option<Handle>,
    ) -> Self {
        let PoolLimits {
            connections: most,
            timeout,
            ..
        } = limits;
        let rule = Limits {
            concurrency: CONCURRENT_BATCHES,
            max_concurrency: most.max(CONCURRENT_BATCHES),
            stall_after: timeout / STALL_FRACTION,
        };
        Self {
            clock,
            connections,
            line: Arc::new(BatchQueue::new(rule)),
            runtime,
            timeout,
        }
    }

    /// How many wait.
    pub(in crate::store::sql) fn waiting(&self) -> usize {
        self.line.length()
    }

    pub(in crate::store::sql) async fn rotate(
        self: &Arc<Self>,
        rotation: Rotation,
        clock: &Arc<dyn Clock>,
    ) -> Result<BatchOutcome, StoreError> {
        if self.line.length() >= QUEUE_CAPACITY {
            return Err(StoreError::Overloaded);
        }
        let (answer, verdict) = oneshot::channel();
        let now = Instant::now();
        let waiting = PendingRotation {
            rotation,
            clock: Arc::clone(clock),
            since: now,
            answer,
        };
        if let Some(runner) = self.line.push(waiting, now) {
            // A task of its own, where the connections are driven: it serves others, too, and must not end with this
            // caller or, where threads share connections, with this caller's thread.
            let run = Arc::clone(self).run(runner);
            match &self.runtime {
                Some(runtime) => runtime.spawn(run),
                None => tokio::spawn(run),
            };
        }
        let ended = |_| {
            Err(StoreError::Unavailable(
                "the thread that asked the database has ended".to_owned(),
            ))
        };
        verdict.await.unwrap_or_else(ended)
    }

    /// Serves the line until it is empty. The connection comes first: whoever arrives while it is waited for goes with the
    /// others.
    async fn run(self: Arc<Self>, mut runner: Flusher<PendingRotation>) {
        while !runner.ends_if_empty() {
            let begun = Instant::now();
            match PooledConn::from_pool(&self.connections).await {
                Ok(lent) => {
                    self.send(
                        lent,
                        runner.next_batch(MAX_BATCH_SIZE, Instant::now(), |_| true),
                    )
                    .await
                }
                // Who came later tries anew: by then the server may be there again.
                Err(error) => {
                    for waiting in runner
                        .next_batch(usize::MAX, Instant::now(), |waiting| waiting.since <= begun)
                    {
                        waiting.refuse(&error);
                    }
                }
            }
        }
    }

    async fn send(&self, mut lent: PooledConn<AsyncPgConnection>, next: Vec<PendingRotation>) {
        let started = Instant::now();
        let (attempts, answers) = admit(next, started, self.timeout);
        if attempts.is_empty() {
            return;
        }
        let statement = RotateBatch::new(&attempts, self.clock.deadline(self.timeout));
        let outcome = match lent.connection() {
            Ok(connection) => {
                with_timeout(
                    self.timeout,
                    (&statement).load::<(i64, RotatedRow)>(connection),
                )
                .await
            }
            Err(error) => Err(error),
        };
        drop(statement);
        let refused = match outcome {
            Ok(Ok(rows)) => {
                lent.release(true);
                return complete(attempts, answers, rows);
            }
            Ok(Err(error)) => {
                // Perhaps because of one of them, and there is time to find out.
                let several = answers.len() > 1 && started.elapsed() < self.timeout / 2;
                let undone = several && self.was_rolled_back(&mut lent).await;
                lent.release(undone || !several);
                if undone {
                    return retry_individually(attempts, answers);
                }
                from_query(error)
            }
            Err(error) => {
                lent.release(false);
                error
            }
        };
        for answer in answers {
            let _ = answer.send(Err(refused.clone()));
        }
    }

    /// After an error. Where the connection lives on, the server itself has ended the statement, and what it had changed is
    /// undone. Of one that is gone nobody knows what it did, whatever was said last, by the server or by a proxy.
    async fn was_rolled_back(&self, lent: &mut PooledConn<AsyncPgConnection>) -> bool {
        let Ok(connection) = lent.connection() else {
            return false;
        };
        matches!(
            with_timeout(self.timeout, connection.batch_execute("SELECT 1")).await,
            Ok(Ok(()))
        )
    }
}

impl PendingRotation {
    fn refuse(self, error: &StoreError) {
        let _ = self.answer.send(Err(error.clone()));
    }
}

/// Those whose turn it is, at this moment by their clocks. Whoever has waited for too long is refused, and whoever does
/// not wait any more is forgotten.
fn admit(
    next: Vec<PendingRotation>,
    now: Instant,
    timeout: Duration,
) -> (Vec<Attempt>, Vec<Answer>) {
    let mut attempts: Vec<Attempt> = Vec::with_capacity(next.len());
    let mut answers = Vec::with_capacity(next.len());
    for waiting in next {
        if waiting.answer.is_closed() {
            continue;
        }
        if now.duration_since(waiting.since) > timeout {
            waiting.refuse(&StoreError::Unavailable(
                "no free connection in time".to_owned(),
            ));
            continue;
        }
        let PendingRotation {
            rotation,
            clock,
            answer,
            ..
        } = waiting;
        attempts.push(Attempt::new(rotation, clock.now()));
        answers.push(answer);
    }
    (attempts, answers)
}

fn complete(attempts: Vec<Attempt>, answers: Vec<Answer>, rows: Vec<(i64, RotatedRow)>) {
    let mut by_place: Vec<Option<RotatedRow>> = Vec::new();
    by_place.resize_with(attempts.len(), || None);
    for (place, row) in rows {
        let place = usize::try_from(place)
            .ok()
            .and_then(|place| by_place.get_mut(place.checked_sub(1)?));
        if let Some(place) = place {
            *place = Some(row);
        }
    }
    for ((attempt, answer), row) in attempts.into_iter().zip(answers).zip(by_place) {
        let _ = answer.send(match row {
            Some(row) => attempt
                .into_state(row)
                .map(|state| BatchOutcome::Rotated(Box::new(state))),
            None => Ok(BatchOutcome::NotInBatch(attempt.rotation)),
        });
    }
}

/// None was done: each is tried alone.
fn retry_individually(attempts: Vec<Attempt>, answers: Vec<Answer>) {
    complete(attempts, answers, Vec::new());
}
