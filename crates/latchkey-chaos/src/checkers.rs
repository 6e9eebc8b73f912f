//! Checkers: tasks that send revoked tokens, valid tokens, and right and wrong passwords all the
//! time.

use std::{sync::Arc, time::Duration};

use crate::{
    load::{Shared, USES, beat},
    tally::{Operation, Outcome, Violation},
};
use latchkey_testkit::{PASSWORD, Pair};

/// Interval between requests of a checker of tokens.
const TOKEN_INTERVAL: Duration = Duration::from_millis(25);

/// Interval between sign-ins. It is longer, because hashing is most of the cost.
const PASSWORD_INTERVAL: Duration = Duration::from_millis(150);

/// Sends tokens of revoked sessions to one instance: of the newest and of an older one in turns.
pub async fn dead(shared: Arc<Shared>, instance: usize) {
    let mut beats = beat(TOKEN_INTERVAL);
    let mut number = 0;
    while !shared.stopped() {
        beats.tick().await;
        number += 1;
        let all = shared.dead();
        let index = if number % 2 == 0 {
            all.len().saturating_sub(1)
        } else {
            number % all.len().max(1)
        };
        if let Some(dead) = all.get(index) {
            shared.try_dead(instance, dead, number / 2).await;
        }
    }
}

/// Sends tokens of sessions that no client uses to one instance.
pub async fn live(shared: Arc<Shared>, instance: usize, pairs: Vec<Pair>) {
    let mut beats = beat(TOKEN_INTERVAL);
    for (number, pair) in pairs.iter().cycle().enumerate() {
        beats.tick().await;
        if shared.stopped() {
            return;
        }
        check_live(&shared, instance, pair, number / pairs.len()).await;
    }
}

async fn check_live(shared: &Shared, instance: usize, pair: &Pair, use_number: usize) {
    let wire = &shared.wire;
    let (operation, answer, what) = match use_number % 3 {
        0 => (
            Operation::Verify,
            wire.verify(instance, &pair.access).await,
            "a live access token",
        ),
        1 => (
            Operation::User,
            wire.user(instance, &pair.access).await,
            "a live access token",
        ),
        _ => (
            Operation::Verify,
            wire.verify(instance, &pair.refresh).await,
            "a live refresh token",
        ),
    };
    shared.must_be_accepted(operation, &answer, Violation::Refused, what);
}

/// Signs in on all instances in turns, with the right password and a wrong one. Returns the tokens.
pub async fn passwords(shared: Arc<Shared>, name: String) -> Vec<Pair> {
    let mut beats = beat(PASSWORD_INTERVAL);
    let mut pairs = Vec::new();
    for number in 0.. {
        beats.tick().await;
        if shared.stopped() {
            break;
        }
        let (wire, count) = (&shared.wire, shared.wire.instances());
        if number % 3 == 2 {
            let answer = wire.obtain(number % count, &name, "not the password").await;
            if answer.ok() {
                wire.tally
                    .violation(Operation::Obtain, Violation::Accepted, &answer.summary());
            }
            continue;
        }
        let answer = wire.obtain(number % count, &name, PASSWORD).await;
        shared.must_be_accepted(
            Operation::Obtain,
            &answer,
            Violation::Refused,
            "the right password",
        );
        if let (true, Some(pair)) = (answer.ok(), answer.pair()) {
            check_live(&shared, (number + 1) % count, &pair, number).await;
            pairs.push(pair);
        }
    }
    pairs
}

/// Checks after recovery that every response still holds, on every instance.
pub async fn audit(shared: &Shared, live: &[Pair]) {
    let count = shared.wire.instances();
    for (number, pair) in live.iter().enumerate() {
        let mut pauses = beat(Duration::from_millis(50));
        for attempt in number..number + 100 {
            pauses.tick().await;
            let answer = shared.wire.refresh(attempt % count, &pair.refresh).await;
            let text = "a session at the end";
            shared.must_be_accepted(Operation::Refresh, &answer, Violation::Lost, text);
            if matches!(answer.outcome, Outcome::Answered | Outcome::Refused) {
                break;
            }
        }
    }
    for dead in shared.dead() {
        for instance in 0..count {
            for use_number in 0..USES {
                shared.try_dead(instance, &dead, use_number).await;
            }
        }
    }
}
