//! How many rounds, and what came of them.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use futures_util::future::join_all;
use latchkey::{crypto::random, domain::session::RevokedReason};

use super::{
    chance::Chance,
    oracle::{Left, judge},
    plan::{Plan, What},
    play::{Event, Record, World},
};
use crate::support::Backend;

/// Rounds at once, each with a user of its own.
const LANES: usize = 6;

/// Rounds of a lane before the clock moves on: what was revoked minutes ago is not written again by the janitors.
const BATCH: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_and_redis_every_promise_is_kept_in_every_interleaving() {
    play_all(
        Backend::PostgresAndRedis,
        setting("INTERLEAVINGS").unwrap_or(400),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_embedded_default_every_promise_is_kept_in_every_interleaving() {
    play_all(
        Backend::Embedded,
        setting("INTERLEAVINGS").unwrap_or(400) / 5,
    )
    .await;
}

async fn play_all(backend: Backend, rounds: u64) {
    let repeated = setting("INTERLEAVINGS_SEED");
    let mut chance = Chance::new(repeated.unwrap_or_else(fresh_seed));
    let world = Arc::new(World::start(backend).await);
    for lane in 0..LANES {
        world.servers[0].user(&format!("user{lane}")).await;
    }
    let begun = Instant::now();
    let mut outcomes = Outcomes::default();
    while outcomes.rounds < rounds {
        let lanes = (0..LANES).map(|lane| {
            let seeds: Vec<u64> = (0..BATCH)
                .map(|_| repeated.unwrap_or_else(|| chance.next()))
                .collect();
            let world = Arc::clone(&world);
            async move { one_lane(&world, &format!("user{lane}"), seeds).await }
        });
        for lane in join_all(lanes.collect::<Vec<_>>()).await {
            for told in lane {
                outcomes.add(told);
            }
        }
        world.servers[0].advance(180);
    }
    let Outcomes {
        rounds,
        seen,
        broken,
    } = &outcomes;
    say(&format!(
        "{backend:?}: {rounds} rounds in {:.1?}, {} promises broken, {seen:?}",
        begun.elapsed(),
        broken.len()
    ));
    let first: Vec<_> = broken.iter().take(5).collect();
    assert!(
        first.is_empty(),
        "{} broken; INTERLEAVINGS_SEED plays a round again: {first:#?}",
        broken.len()
    );
    if repeated.is_none() && *rounds >= 50 {
        outcomes.tell_enough();
    }
}

/// Plays rounds one after the other. For each, what came of it, and the promises that it broke.
async fn one_lane(
    world: &Arc<World>,
    name: &str,
    seeds: Vec<u64>,
) -> Vec<(Vec<&'static str>, Vec<String>)> {
    let mut told = Vec::new();
    for seed in seeds {
        let record = world.play(name, Plan::new(seed)).await;
        let (left, mut broken) = world.look_after(&record).await;
        broken.extend(judge(&record, &left));
        let broken = broken
            .into_iter()
            .map(|what| format!("seed {seed}: {what}\n{:?}", record.plan))
            .collect();
        told.push((kinds(&record, &left), broken));
    }
    told
}

/// What happened in the rounds: without it, no promise was put to the test.
#[derive(Debug, Default)]
struct Outcomes {
    rounds: u64,
    seen: BTreeMap<&'static str, u64>,
    broken: Vec<String>,
}

const KINDS: [&str; 8] = [
    "lived",
    "logged out",
    "cut off",
    "reuse",
    "one successor for several",
    "a client gone",
    "two rotations",
    "a thief elsewhere refused",
];

fn kinds(record: &Record, left: &Left) -> Vec<&'static str> {
    let reason = left.row.revoked.map(|(_, reason)| reason);
    let given = |event: &&Event| {
        matches!(event.what, What::Refresh { .. })
            && event
                .answer
                .as_ref()
                .is_some_and(|(_, answer)| answer.status == 200)
    };
    let given = record.events.iter().filter(given).count();
    let rotations = usize::try_from(left.generation - record.plan.generation).unwrap();
    let happened = [
        !left.dead(),
        reason == Some(RevokedReason::LoggedOut),
        left.version != left.row.session_epoch,
        reason == Some(RevokedReason::Reuse),
        given > rotations,
        record.events.iter().any(|event| event.answer.is_none()),
        rotations > 1,
        record.thief_was_refused(),
    ];
    KINDS
        .into_iter()
        .zip(happened)
        .filter(|(_, happened)| *happened)
        .map(|(kind, _)| kind)
        .collect()
}

impl Outcomes {
    fn add(&mut self, (kinds, broken): (Vec<&'static str>, Vec<String>)) {
        self.rounds += 1;
        for kind in kinds {
            *self.seen.entry(kind).or_default() += 1;
        }
        self.broken.extend(broken);
    }

    fn tell_enough(&self) {
        for kind in KINDS {
            assert!(self.seen.contains_key(kind), "it never happened: {kind}");
        }
    }
}

fn fresh_seed() -> u64 {
    u64::from_str_radix(&random::jti()[..16], 16).unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "settings of the tests, not of the server"
)]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a number"))
}

#[expect(
    clippy::print_stdout,
    reason = "shown on --nocapture: what the rounds were like"
)]
fn say(text: &str) {
    println!("{text}");
}
