//! Those who wait to rotate on one pool's connections, and who asks for them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use diesel::result::{DatabaseErrorKind, Error};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, pooled_connection::deadpool::Pool};
use tokio::sync::oneshot;

use super::{
    attempt::{Attempt, Rotated},
    line::{Line, Runner},
    together::RotateTogether,
};
use crate::{
    domain::session::SessionState,
    ports::{Clock, Rotation, StoreError},
    store::sql::{error::from_query, lent::Lent, pool::limited, server_clock::ServerClock},
};

/// Statements under way at once, for each pool. While one is written to the disk another can be worked on; more would
/// only make each smaller.
const RUNNERS: usize = 2;

/// Sessions in one statement: what takes Postgres about a millisecond.
const MOST: usize = 64;

/// The rotations that go over the connections of one pool.
pub(in crate::store::sql) struct Rotations {
    clock: ServerClock,
    connections: Pool<AsyncPgConnection>,
    line: Arc<Line<Waiting>>,
    timeout: Duration,
}

/// What became of a rotation in a statement with others.
pub(in crate::store::sql) enum Verdict {
    Rotated(Box<SessionState>),
    /// It was not done there. That says nothing about why.
    Left(Rotation),
}

struct Waiting {
    rotation: Rotation,
    clock: Arc<dyn Clock>,
    since: Instant,
    answer: Answer,
}

type Answer = oneshot::Sender<Result<Verdict, StoreError>>;

impl Rotations {
    pub(in crate::store::sql) fn new(
        connections: Pool<AsyncPgConnection>,
        clock: ServerClock,
        timeout: Duration,
    ) -> Self {
        Self { clock, connections, line: Arc::new(Line::new(RUNNERS)), timeout }
    }

    /// How many wait.
    pub(in crate::store::sql) fn waiting(&self) -> usize {
        self.line.length()
    }

    pub(in crate::store::sql) async fn rotate(
        self: &Arc<Self>,
        rotation: Rotation,
        clock: &Arc<dyn Clock>,
    ) -> Result<Verdict, StoreError> {
        let (answer, verdict) = oneshot::channel();
        let waiting = Waiting { rotation, clock: Arc::clone(clock), since: Instant::now(), answer };
        if let Some(runner) = self.line.join(waiting) {
            // A task of its own: it serves others, too, and must not end when this caller does.
            tokio::spawn(Arc::clone(self).run(runner));
        }
        let ended = |_| Err(StoreError::Unavailable("the thread that asked the database has ended".to_owned()));
        verdict.await.unwrap_or_else(ended)
    }

    /// Serves the line until it is empty. The connection comes first: whoever arrives while it is waited for goes with the
    /// others.
    async fn run(self: Arc<Self>, mut runner: Runner<Waiting>) {
        while !runner.is_over() {
            let begun = Instant::now();
            match Lent::from_pool(&self.connections).await {
                Ok(lent) => self.send(lent, runner.next(MOST, |_| true)).await,
                // Who came later tries anew: by then the server may be there again.
                Err(error) => {
                    for waiting in runner.next(usize::MAX, |waiting| waiting.since <= begun) {
                        waiting.refuse(&error);
                    }
                }
            }
        }
    }

    async fn send(&self, mut lent: Lent<AsyncPgConnection>, next: Vec<Waiting>) {
        let started = Instant::now();
        let (attempts, answers) = begun(next, started, self.timeout);
        if attempts.is_empty() {
            return;
        }
        let outcome = {
            let statement = RotateTogether::new(&attempts, self.clock.deadline(self.timeout));
            match lent.connection() {
                Ok(connection) => limited(self.timeout, (&statement).load::<(i64, Rotated)>(connection)).await,
                Err(error) => Err(error),
            }
        };
        lent.end(outcome.is_ok());
        match outcome {
            Ok(Ok(rows)) => told(attempts, answers, rows),
            Ok(Err(error)) if is_about_one(&error) && answers.len() > 1 && started.elapsed() < self.timeout / 2 => {
                told(attempts, answers, Vec::new());
            }
            Ok(Err(error)) => refused(answers, &from_query(error)),
            Err(error) => refused(answers, &error),
        }
    }
}

impl Waiting {
    fn refuse(self, error: &StoreError) {
        let _ = self.answer.send(Err(error.clone()));
    }
}

/// Those whose turn it is, at this moment by their clocks. Whoever has waited for too long is refused, and whoever does
/// not wait any more is forgotten.
fn begun(next: Vec<Waiting>, now: Instant, timeout: Duration) -> (Vec<Attempt>, Vec<Answer>) {
    let mut attempts: Vec<Attempt> = Vec::with_capacity(next.len());
    let mut answers = Vec::with_capacity(next.len());
    for waiting in next {
        if waiting.answer.is_closed() {
            continue;
        }
        if now.duration_since(waiting.since) > timeout {
            waiting.refuse(&StoreError::Unavailable("no free connection in time".to_owned()));
            continue;
        }
        let Waiting { rotation, clock, answer, .. } = waiting;
        attempts.push(Attempt::new(rotation, clock.now()));
        answers.push(answer);
    }
    (attempts, answers)
}

/// Whether the server has said that it did nothing, perhaps because of one of many. An answer that was lost may have
/// been a yes.
fn is_about_one(error: &Error) -> bool {
    matches!(error, Error::DatabaseError(kind, _) if !matches!(kind, DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection))
}

fn told(attempts: Vec<Attempt>, answers: Vec<Answer>, rows: Vec<(i64, Rotated)>) {
    let mut by_place: Vec<Option<Rotated>> = Vec::new();
    by_place.resize_with(attempts.len(), || None);
    for (place, row) in rows {
        let place = usize::try_from(place).ok().and_then(|place| by_place.get_mut(place.checked_sub(1)?));
        if let Some(place) = place {
            *place = Some(row);
        }
    }
    for ((attempt, answer), row) in attempts.into_iter().zip(answers).zip(by_place) {
        let _ = answer.send(match row {
            Some(row) => attempt.done(row).map(|state| Verdict::Rotated(Box::new(state))),
            None => Ok(Verdict::Left(attempt.rotation)),
        });
    }
}

fn refused(answers: Vec<Answer>, error: &StoreError) {
    for answer in answers {
        let _ = answer.send(Err(error.clone()));
    }
}
