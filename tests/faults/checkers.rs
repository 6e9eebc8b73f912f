//! Those who hold tokens known to be dead, tokens known to be live, and passwords right and wrong, and ask all the time.

use std::{sync::Arc, time::Duration};

use crate::{
    load::{Shared, WAYS, beat},
    tally::{Operation, Outcome, Violation},
    wire::{PASSWORD, Pair},
};

/// How often each of those asks who hold tokens.
const OFTEN: Duration = Duration::from_millis(25);

/// How often passwords are tried: hashing is most of the cost.
const SELDOM: Duration = Duration::from_millis(150);

/// Asks one instance about dead sessions: the newest and an older one in turns.
pub async fn dead(shared: Arc<Shared>, instance: usize) {
    let mut beats = beat(OFTEN);
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

/// Asks one instance about sessions that nobody touches.
pub async fn live(shared: Arc<Shared>, instance: usize, pairs: Vec<Pair>) {
    let mut beats = beat(OFTEN);
    for (number, pair) in pairs.iter().cycle().enumerate() {
        beats.tick().await;
        if shared.stopped() {
            return;
        }
        ask_live(&shared, instance, pair, number / pairs.len()).await;
    }
}

async fn ask_live(shared: &Shared, instance: usize, pair: &Pair, way: usize) {
    let wire = &shared.wire;
    let (operation, answer, what) = match way % 3 {
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

/// Signs in with the right password and with a wrong one, everywhere. Gives what it was given.
pub async fn passwords(shared: Arc<Shared>, name: String) -> Vec<Pair> {
    let mut beats = beat(SELDOM);
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
                    .violation(Operation::Obtain, Violation::Accepted, &answer.told());
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
            ask_live(&shared, (number + 1) % count, &pair, number).await;
            pairs.push(pair);
        }
    }
    pairs
}

/// When all is healed: what was answered holds, on every instance.
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
            for way in 0..WAYS {
                shared.try_dead(instance, &dead, way).await;
            }
        }
    }
}
