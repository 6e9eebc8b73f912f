//! State that clients and checkers share, and their checks of answers.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    tally::{Operation, Violation},
    wire::{Answer, Wire},
};
use latchkey_testkit::Pair;

/// Documented time within which revocations of an instance without Redis reach the others: a
/// second, and one janitor round.
const PROPAGATION_TIMEOUT: Duration = Duration::from_millis(1500);

/// Number of requests that the tokens of a session allow.
pub const USES: usize = 7;

/// A revoked session, and the time at which the client received the confirmation.
pub struct Dead {
    pub pair: Pair,
    pub since: Instant,
}

/// State shared by all clients and checkers.
pub struct Shared {
    pub wire: Wire,
    dead: Mutex<Vec<Arc<Dead>>>,
    stop: AtomicBool,
}

impl Shared {
    pub fn new(wire: Wire) -> Self {
        Self {
            wire,
            dead: Mutex::default(),
            stop: AtomicBool::new(false),
        }
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    pub fn dead(&self) -> Vec<Arc<Dead>> {
        self.dead.lock().unwrap().clone()
    }

    pub fn bury(&self, pair: Pair) -> Arc<Dead> {
        let dead = Arc::new(Dead {
            pair,
            since: Instant::now(),
        });
        self.dead.lock().unwrap().push(Arc::clone(&dead));
        dead
    }

    /// Records a violation if a revoked token was accepted.
    pub fn must_be_refused(
        &self,
        operation: Operation,
        answer: &Answer,
        since: Instant,
        what: &str,
    ) {
        if !answer.ok() {
            return;
        }
        let age = answer.began.saturating_duration_since(since);
        let text = format!(
            "{what} token, revoked for {:.2} s: {}",
            age.as_secs_f32(),
            answer.summary()
        );
        if operation == Operation::Verify && what == "access" && age < PROPAGATION_TIMEOUT {
            self.wire.tally.early(operation, &text);
        } else {
            self.wire
                .tally
                .violation(operation, Violation::Accepted, &text);
        }
    }

    /// Records a violation if a valid token was refused.
    pub fn must_be_accepted(
        &self,
        operation: Operation,
        answer: &Answer,
        kind: Violation,
        what: &str,
    ) {
        if answer.refused() {
            self.wire
                .tally
                .violation(operation, kind, &format!("{what}: {}", answer.summary()));
        }
    }

    /// Sends one of the requests that the tokens of a session allow, with revoked tokens.
    pub async fn try_dead(&self, instance: usize, dead: &Dead, use_number: usize) {
        let (wire, pair, since) = (&self.wire, &dead.pair, dead.since);
        let (operation, answer, what) = match use_number % USES {
            0 => (
                Operation::Verify,
                wire.verify(instance, &pair.access).await,
                "access",
            ),
            1 => (
                Operation::Refresh,
                wire.refresh(instance, &pair.refresh).await,
                "refresh",
            ),
            2 => (
                Operation::User,
                wire.user(instance, &pair.access).await,
                "access",
            ),
            3 => (
                Operation::Verify,
                wire.verify(instance, &pair.refresh).await,
                "refresh",
            ),
            4 => (
                Operation::Blacklist,
                wire.blacklist(instance, &pair.refresh).await,
                "refresh",
            ),
            5 => (
                Operation::EndSession,
                wire.end_session(instance, &pair.access).await,
                "access",
            ),
            _ => (
                Operation::EndAll,
                wire.end_all(instance, &pair.access).await,
                "access",
            ),
        };
        self.must_be_refused(operation, &answer, since, what);
    }
}
