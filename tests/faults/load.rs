//! Clients that each hold a session, rotate it, log out and sign in again, going round over the instances. They behave
//! as a good client does: what was not answered is asked again, elsewhere, with the same token.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::{
    tally::{Operation, Outcome, Violation},
    wire::{Answer, PASSWORD, Pair, Wire, generation},
};

/// The default of `LATCHKEY_REFRESH_REUSE_GRACE`.
const GRACE: Duration = Duration::from_secs(10);

/// One round of a client: a refresh, questions about the tokens old and new, now and then a log-out.
const ROUND: Duration = Duration::from_millis(100);

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// What is announced for an instance that cannot reach Redis: a second, and the time of the round that follows.
const HEARD_OF: Duration = Duration::from_millis(1500);

/// A log-out after so many rounds.
const SIGN_OUT: usize = 7;

/// So many uses has a dead session.
pub const WAYS: usize = 7;

/// How a client ends its sign-in.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// By its refresh token.
    LogOut,
    /// By its access token and the session's name.
    Session,
    /// That of a second sign-in, too: the user is cut off.
    Everywhere,
}

impl End {
    /// In turns.
    pub const fn number(number: usize) -> Self {
        match number % 3 {
            0 => Self::LogOut,
            1 => Self::Session,
            _ => Self::Everywhere,
        }
    }

    pub async fn ask(self, wire: &Wire, instance: usize, pair: &Pair) -> Answer {
        match self {
            Self::LogOut => wire.blacklist(instance, &pair.refresh).await,
            Self::Session => wire.end_session(instance, &pair.access).await,
            Self::Everywhere => wire.end_all(instance, &pair.access).await,
        }
    }

    const fn operation(self) -> Operation {
        match self {
            Self::LogOut => Operation::Blacklist,
            Self::Session => Operation::EndSession,
            Self::Everywhere => Operation::EndAll,
        }
    }
}

/// A session that was ended, and since when that was known to the client.
pub struct Dead {
    pub pair: Pair,
    pub since: Instant,
}

/// What all who ask share.
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

    /// Holds an answer about a dead token against what is promised.
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
            "{what} token, {:.2} s dead: {}",
            age.as_secs_f32(),
            answer.told()
        );
        if operation == Operation::Verify && what == "access" && age < HEARD_OF {
            self.wire.tally.early(operation, &text);
        } else {
            self.wire
                .tally
                .violation(operation, Violation::Accepted, &text);
        }
    }

    /// Holds an answer about a live token against what is promised.
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
                .violation(operation, kind, &format!("{what}: {}", answer.told()));
        }
    }

    /// Every use of every token of a dead session.
    pub async fn try_dead(&self, instance: usize, dead: &Dead, way: usize) {
        let (wire, pair, since) = (&self.wire, &dead.pair, dead.since);
        let (operation, answer, what) = match way % WAYS {
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

/// A beat that does not hurry after it was late.
pub fn beat(period: Duration) -> Interval {
    let mut beat = interval(period);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

/// A client.
pub struct Client {
    shared: Arc<Shared>,
    name: String,
    next: usize,
    pair: Pair,
}

impl Client {
    pub async fn sign_in(shared: Arc<Shared>, number: usize) -> Self {
        let name = format!("user{number}");
        let pair = obtained(&shared, &name, number).await;
        Self {
            shared,
            name,
            next: number,
            pair,
        }
    }

    /// Goes on until it is told to stop; gives the session that it then has.
    pub async fn run(mut self) -> Pair {
        let mut rounds = beat(ROUND);
        let mut number = self.next;
        while !self.shared.stopped() {
            rounds.tick().await;
            self.rotate().await;
            number += 1;
            if number.is_multiple_of(SIGN_OUT) {
                self.end(End::number(number / SIGN_OUT)).await;
                let instance = self.elsewhere();
                self.pair = obtained(&self.shared, &self.name, instance).await;
            }
        }
        self.pair
    }

    async fn rotate(&mut self) {
        let spent = self.pair.refresh.clone();
        let (began, mut tries, mut pauses) = (Instant::now(), 0, beat(PAUSE));
        let next = loop {
            pauses.tick().await;
            let instance = self.elsewhere();
            let answer = self.shared.wire.refresh(instance, &spent).await;
            match answer.outcome {
                Outcome::Answered => break answer,
                Outcome::Unavailable | Outcome::Broken => tries += 1,
                Outcome::Refused => {
                    let tally = &self.shared.wire.tally;
                    if tries > 0 && began.elapsed() > GRACE {
                        tally.late(Operation::Refresh);
                    } else {
                        // It came with an answer. If nothing was left open since, that answer has lost its effect.
                        let kind = if tries == 0 {
                            Violation::Lost
                        } else {
                            Violation::Refused
                        };
                        let text =
                            format!("{}, attempt {}: {}", self.name, tries + 1, answer.told());
                        tally.violation(Operation::Refresh, kind, &text);
                    }
                    self.pair = obtained(&self.shared, &self.name, instance).await;
                    return;
                }
            }
        };
        self.take(&spent, &next);
        self.ask_around(&spent).await;
    }

    fn take(&mut self, spent: &str, answer: &Answer) {
        let tally = &self.shared.wire.tally;
        let Some(pair) = answer.pair() else {
            tally.violation(
                Operation::Refresh,
                Violation::Defect,
                "200 without two tokens",
            );
            return;
        };
        let (old, new) = (generation(spent), generation(&pair.refresh));
        if new != old.map(|old| old + 1) {
            tally.violation(
                Operation::Refresh,
                Violation::Lost,
                &format!("{new:?} came after {old:?}"),
            );
        }
        self.pair = pair;
    }

    async fn ask_around(&mut self, spent: &str) {
        let (here, since) = (self.elsewhere(), Instant::now());
        let shared = &self.shared;
        let new = shared.wire.verify(here, &self.pair.access).await;
        shared.must_be_accepted(
            Operation::Verify,
            &new,
            Violation::Refused,
            "a new access token",
        );
        let user = shared.wire.user(here, &self.pair.access).await;
        shared.must_be_accepted(
            Operation::User,
            &user,
            Violation::Refused,
            "a new access token",
        );
        let new = shared.wire.verify(here, &self.pair.refresh).await;
        shared.must_be_accepted(
            Operation::Verify,
            &new,
            Violation::Refused,
            "a new refresh token",
        );
        let old = shared.wire.verify(here, spent).await;
        shared.must_be_refused(Operation::Verify, &old, since, "spent refresh");
    }

    async fn end(&mut self, end: End) {
        let mut ended = vec![self.pair.clone()];
        if let End::Everywhere = end {
            let instance = self.elsewhere();
            ended.push(obtained(&self.shared, &self.name, instance).await);
        }
        if !self.is_over(end).await {
            return;
        }
        for pair in ended {
            let dead = self.shared.bury(pair);
            for instance in 0..self.shared.wire.instances() {
                self.shared.try_dead(instance, &dead, 0).await;
            }
            let here = self.elsewhere();
            for way in 1..WAYS {
                self.shared.try_dead(here, &dead, way).await;
            }
        }
    }

    /// Asks until it is answered. Whether it is over.
    async fn is_over(&mut self, end: End) -> bool {
        let (mut tries, mut pauses) = (0, beat(PAUSE));
        loop {
            pauses.tick().await;
            let instance = self.elsewhere();
            let answer = end.ask(&self.shared.wire, instance, &self.pair).await;
            match answer.outcome {
                Outcome::Answered => return true,
                Outcome::Unavailable | Outcome::Broken => tries += 1,
                // An earlier attempt did it, and its answer was lost.
                Outcome::Refused
                    if tries > 0 && answer.body.to_string().contains("Token is blacklisted") =>
                {
                    return true;
                }
                Outcome::Refused => {
                    self.shared.must_be_accepted(
                        end.operation(),
                        &answer,
                        Violation::Refused,
                        "a live session",
                    );
                    return false;
                }
            }
        }
    }

    fn elsewhere(&mut self) -> usize {
        self.next += 1;
        self.next % self.shared.wire.instances()
    }
}

/// Signs in, however often it takes.
pub async fn obtained(shared: &Shared, name: &str, first: usize) -> Pair {
    let mut pauses = beat(PAUSE);
    for attempt in 0.. {
        pauses.tick().await;
        let answer = shared
            .wire
            .obtain((first + attempt) % shared.wire.instances(), name, PASSWORD)
            .await;
        shared.must_be_accepted(
            Operation::Obtain,
            &answer,
            Violation::Refused,
            "the right password",
        );
        if let (true, Some(pair)) = (answer.ok(), answer.pair()) {
            return pair;
        }
    }
    unreachable!("the attempts have no end")
}
