//! Clients that rotate a session, log out and sign in again, on all instances in turns. After a 503
//! or a broken connection they retry with the same token on another instance, as a good client
//! does.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::{Interval, MissedTickBehavior, interval};

pub use crate::shared::{Shared, USES};
use crate::{
    tally::{Operation, Outcome, Violation},
    wire::{Answer, Wire, generation},
};
use latchkey_testkit::{PASSWORD, Pair};

/// The default of `LATCHKEY_REFRESH_REUSE_GRACE`.
const GRACE: Duration = Duration::from_secs(10);

/// Interval between rounds of a client. A round is a refresh, checks of the old and new tokens, and
/// sometimes a log-out.
const ROUND_INTERVAL: Duration = Duration::from_millis(100);

/// Interval between attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Number of rounds between log-outs.
const LOG_OUT_INTERVAL: usize = 7;

/// Revocation of a client's session.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// Log-out with its refresh token.
    LogOut,
    /// End of one session with its access token and its `sid`.
    Session,
    /// Log-out everywhere, which also revokes a second session of the user.
    Everywhere,
}

impl End {
    /// Returns the kinds in turns.
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

/// Returns an interval that does not catch up on missed ticks.
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

    /// Runs until the load stops. Returns the tokens of the last session.
    pub async fn run(mut self) -> Pair {
        let mut rounds = beat(ROUND_INTERVAL);
        let mut number = self.next;
        while !self.shared.stopped() {
            rounds.tick().await;
            self.rotate().await;
            number += 1;
            if number.is_multiple_of(LOG_OUT_INTERVAL) {
                self.end(End::number(number / LOG_OUT_INTERVAL)).await;
                let instance = self.next_instance();
                self.pair = obtained(&self.shared, &self.name, instance).await;
            }
        }
        self.pair
    }

    async fn rotate(&mut self) {
        let spent = self.pair.refresh.clone();
        let (began, mut tries, mut pauses) = (Instant::now(), 0, beat(RETRY_INTERVAL));
        let next = loop {
            pauses.tick().await;
            let instance = self.next_instance();
            let answer = self.shared.wire.refresh(instance, &spent).await;
            match answer.outcome {
                Outcome::Answered => break answer,
                Outcome::Unavailable | Outcome::Broken => tries += 1,
                Outcome::Refused => {
                    let tally = &self.shared.wire.tally;
                    if tries > 0 && began.elapsed() > GRACE {
                        tally.late(Operation::Refresh);
                    } else {
                        // The token came from a 200 response. Without an unanswered attempt
                        // since, that response has lost its effect.
                        let kind = if tries == 0 {
                            Violation::Lost
                        } else {
                            Violation::Refused
                        };
                        let text =
                            format!("{}, attempt {}: {}", self.name, tries + 1, answer.summary());
                        tally.violation(Operation::Refresh, kind, &text);
                    }
                    self.pair = obtained(&self.shared, &self.name, instance).await;
                    return;
                }
            }
        };
        self.take(&spent, &next);
        self.check_tokens(&spent).await;
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

    async fn check_tokens(&mut self, spent: &str) {
        let (here, since) = (self.next_instance(), Instant::now());
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
            let instance = self.next_instance();
            ended.push(obtained(&self.shared, &self.name, instance).await);
        }
        if !self.revoke(end).await {
            return;
        }
        for pair in ended {
            let dead = self.shared.bury(pair);
            for instance in 0..self.shared.wire.instances() {
                self.shared.try_dead(instance, &dead, 0).await;
            }
            let here = self.next_instance();
            for use_number in 1..USES {
                self.shared.try_dead(here, &dead, use_number).await;
            }
        }
    }

    /// Sends the request until it is answered. Returns true if the session is revoked.
    async fn revoke(&mut self, end: End) -> bool {
        let (mut tries, mut pauses) = (0, beat(RETRY_INTERVAL));
        loop {
            pauses.tick().await;
            let instance = self.next_instance();
            let answer = end.ask(&self.shared.wire, instance, &self.pair).await;
            match answer.outcome {
                Outcome::Answered => return true,
                Outcome::Unavailable | Outcome::Broken => tries += 1,
                // An earlier attempt succeeded, and its response was lost.
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

    fn next_instance(&mut self) -> usize {
        self.next += 1;
        self.next % self.shared.wire.instances()
    }
}

/// Signs in, with retries until it succeeds.
pub async fn obtained(shared: &Shared, name: &str, first: usize) -> Pair {
    let mut pauses = beat(RETRY_INTERVAL);
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
    unreachable!("the attempts do not end")
}
