//! Coalescing of concurrent rotations on one pool's connections into batches (group commit).
//!
//! [`CoalescingStore`] decorates a store. Without it, each rotation has a statement of its own.
//! `docs/adr/0009-coalescing.md` has the reasons. To remove coalescing, delete:
//!
//! - this folder, and its `mod` line in `rotation/mod.rs`;
//! - `CoalescingStore` in `src/app/stores.rs`, and the setting `coalesce_rotations`;
//! - `waiting_rotations` in `postgres_pool.rs`;
//! - the tests `tests/it/contract/coalescing*.rs`.

mod batch_queue;
mod batch_statement;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use diesel_async::{
    AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _,
    pooled_connection::deadpool::Pool,
};
use tokio::{runtime::Handle, sync::oneshot};

use self::{
    batch_queue::{BatchQueue, Flusher, Limits},
    batch_statement::RotateBatch,
};
use super::attempt::{Attempt, RotatedRow};
use crate::sql::{
    SqlStore,
    error::from_query,
    pool::{PoolKind, with_timeout},
    pooled_conn::PooledConn,
    postgres_pool::PostgresPool,
    server_clock::ServerClock,
};
use latchkey_domain::{
    ports::{Clock, Rotation, RotationStore, StoreError},
    session::SessionState,
};

/// Store that rotates in batches, and decides by a single statement for a rotation that its batch
/// did not perform.
pub struct CoalescingStore {
    store: SqlStore,
    coalescer: Arc<RotationCoalescer>,
}

impl CoalescingStore {
    /// Returns `store` with coalescing, on its pool. `None` for SQLite, which serializes writers.
    #[must_use]
    pub fn new(store: &SqlStore) -> Option<Self> {
        let PoolKind::Postgres(pool) = &store.pool.kind else {
            return None;
        };
        let coalescer = RotationCoalescer::new(
            pool,
            store.pool.server_clock.clone(),
            store.pool.queue_capacity,
        );
        Some(Self {
            store: store.clone(),
            coalescer: Arc::new(coalescer),
        })
    }
}

#[async_trait]
impl RotationStore for CoalescingStore {
    async fn rotate(
        &self,
        rotation: Rotation,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<SessionState>, StoreError> {
        match self.coalescer.rotate(rotation, clock).await? {
            BatchOutcome::Rotated(state) => Ok(Some(*state)),
            // Another transaction holds the row, or the condition failed.
            BatchOutcome::NotInBatch(rotation) => {
                Box::pin(self.store.rotate(rotation, clock)).await
            }
        }
    }
}

/// Concurrent statements of each pool. While one is flushed to disk, another can execute. More
/// would only reduce the size of the batches.
const CONCURRENT_BATCHES: usize = 2;

/// Maximum of sessions in one statement. Postgres needs about two milliseconds for them.
const MAX_BATCH_SIZE: usize = 64;

/// Maximum of waiting rotations. A pool writes them in some tens of milliseconds.
const QUEUE_CAPACITY: usize = 1024;

/// Part of the timeout after which running statements count as stalled, so that another one may
/// start.
const STALL_FRACTION: u32 = 20;

/// Coalescer of the rotations on one pool.
struct RotationCoalescer {
    clock: ServerClock,
    connections: Pool<AsyncPgConnection>,
    queue: Arc<BatchQueue<PendingRotation>>,
    queue_capacity: usize,
    runtime: Handle,
    timeout: Duration,
    waiting: Arc<AtomicUsize>,
}

/// Outcome of a rotation in a batch.
enum BatchOutcome {
    Rotated(Box<SessionState>),
    /// The batch did not rotate it. The reason is unknown.
    NotInBatch(Rotation),
}

struct PendingRotation {
    rotation: Rotation,
    clock: Arc<dyn Clock>,
    since: Instant,
    reply: Reply,
    _counted: Counted,
}

/// Counts a waiting rotation until it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

type Reply = oneshot::Sender<Result<BatchOutcome, StoreError>>;

impl RotationCoalescer {
    fn new(pool: &PostgresPool, clock: ServerClock, queue_capacity: usize) -> Self {
        let limits = pool.limits();
        let queue_limits = Limits {
            concurrency: CONCURRENT_BATCHES,
            max_concurrency: limits.connections.max(CONCURRENT_BATCHES),
            stall_after: limits.timeout / STALL_FRACTION,
        };
        Self {
            clock,
            connections: pool.connections().clone(),
            queue: Arc::new(BatchQueue::new(queue_limits)),
            queue_capacity,
            runtime: pool.runtime().clone(),
            timeout: limits.timeout,
            waiting: pool.waiting_rotations(),
        }
    }

    async fn rotate(
        self: &Arc<Self>,
        rotation: Rotation,
        clock: &Arc<dyn Clock>,
    ) -> Result<BatchOutcome, StoreError> {
        if self.queue.length() >= QUEUE_CAPACITY {
            return Err(StoreError::Overloaded);
        }
        let (reply, outcome) = oneshot::channel();
        let now = Instant::now();
        let waiting = PendingRotation {
            rotation,
            clock: Arc::clone(clock),
            since: now,
            reply,
            _counted: Counted::new(&self.waiting),
        };
        if let Some(flusher) = self.queue.push(waiting, now) {
            // A separate task on the runtime of the connections: it serves other requests too, and
            // must not end with this one or, for a shared pool, with this worker.
            self.runtime.spawn(Arc::clone(self).flush(flusher));
        }
        let ended = |_| {
            Err(StoreError::Unavailable(
                "the task that sends the statement has stopped".to_owned(),
            ))
        };
        outcome.await.unwrap_or_else(ended)
    }

    /// Sends batches until the queue is empty. The connection is acquired first, so that
    /// rotations that arrive meanwhile join the batch.
    async fn flush(self: Arc<Self>, mut flusher: Flusher<PendingRotation>) {
        while !flusher.ends_if_empty() {
            let started = Instant::now();
            match PooledConn::from_pool(&self.connections, self.queue_capacity).await {
                Ok(pooled) => {
                    self.send(
                        pooled,
                        flusher.next_batch(MAX_BATCH_SIZE, Instant::now(), |_| true),
                    )
                    .await;
                }
                // Later arrivals try again: the server may be available by then.
                Err(error) => {
                    for waiting in flusher.next_batch(usize::MAX, Instant::now(), |waiting| {
                        waiting.since <= started
                    }) {
                        waiting.refuse(&error);
                    }
                }
            }
        }
    }

    async fn send(&self, mut pooled: PooledConn<AsyncPgConnection>, next: Vec<PendingRotation>) {
        let started = Instant::now();
        let (attempts, replies) = admit(next, started, self.timeout);
        if attempts.is_empty() {
            return;
        }
        let statement = RotateBatch::new(&attempts, self.clock.deadline(self.timeout));
        let outcome = match pooled.connection() {
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
                pooled.release(true);
                return complete(attempts, replies, rows);
            }
            Ok(Err(error)) => {
                // One attempt may be the cause, and there is time left to retry each alone.
                let several = replies.len() > 1 && started.elapsed() < self.timeout / 2;
                let rolled_back = several && self.was_rolled_back(&mut pooled).await;
                pooled.release(rolled_back || !several);
                if rolled_back {
                    return retry_individually(attempts, replies);
                }
                from_query(error)
            }
            Err(error) => {
                pooled.release(false);
                error
            }
        };
        for reply in replies {
            let _ = reply.send(Err(refused.clone()));
        }
    }

    /// Returns true if a failed statement was certainly rolled back: the connection still works, so
    /// the server itself ended the statement. After a broken connection the outcome is unknown,
    /// whatever error the server or a proxy reported last.
    async fn was_rolled_back(&self, pooled: &mut PooledConn<AsyncPgConnection>) -> bool {
        let Ok(connection) = pooled.connection() else {
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
        let _ = self.reply.send(Err(error.clone()));
    }
}

/// Converts pending rotations into attempts at the current time. Rejects those that exceeded the
/// timeout, and drops those without a client.
fn admit(
    next: Vec<PendingRotation>,
    now: Instant,
    timeout: Duration,
) -> (Vec<Attempt>, Vec<Reply>) {
    let mut attempts: Vec<Attempt> = Vec::with_capacity(next.len());
    let mut replies = Vec::with_capacity(next.len());
    for waiting in next {
        if waiting.reply.is_closed() {
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
            reply,
            ..
        } = waiting;
        attempts.push(Attempt::new(rotation, clock.now()));
        replies.push(reply);
    }
    (attempts, replies)
}

fn complete(attempts: Vec<Attempt>, replies: Vec<Reply>, rows: Vec<(i64, RotatedRow)>) {
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
    for ((attempt, reply), row) in attempts.into_iter().zip(replies).zip(by_place) {
        let _ = reply.send(match row {
            Some(row) => attempt
                .into_state(row)
                .map(|state| BatchOutcome::Rotated(Box::new(state))),
            None => Ok(BatchOutcome::NotInBatch(attempt.rotation)),
        });
    }
}

/// Returns every attempt as not rotated, so that each is retried alone.
fn retry_individually(attempts: Vec<Attempt>, replies: Vec<Reply>) {
    complete(attempts, replies, Vec::new());
}
