//! Random rounds on each backend.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use futures_util::future::join_all;
use latchkey_crypto::random;
use latchkey_domain::session::RevokedReason;

use super::{
    oracle::{Outcome, judge},
    plan::{Command, Plan},
    play::{Event, Record, World},
    rng::Rng,
};
use latchkey_testkit::Backend;

/// Number of concurrent rounds, each with another user.
const CONCURRENT_ROUNDS: usize = 6;

/// Number of rounds before the clock advances. Replays then skip the older revocations.
const BATCH: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interleavings_on_postgres_and_redis() {
    play_all(
        Backend::PostgresAndRedis,
        setting("INTERLEAVINGS").unwrap_or(400),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interleavings_on_the_embedded_default() {
    play_all(
        Backend::Embedded,
        setting("INTERLEAVINGS").unwrap_or(400) / 5,
    )
    .await;
}

async fn play_all(backend: Backend, rounds: u64) {
    let repeated = setting("INTERLEAVINGS_SEED");
    let mut rng = Rng::new(repeated.unwrap_or_else(fresh_seed));
    let world = Arc::new(World::start(backend).await);
    for lane in 0..CONCURRENT_ROUNDS {
        world.servers[0].user(&format!("user{lane}")).await;
    }
    let started = Instant::now();
    let mut outcomes = Outcomes::default();
    while outcomes.rounds < rounds {
        let lanes = (0..CONCURRENT_ROUNDS).map(|lane| {
            let seeds: Vec<u64> = (0..BATCH)
                .map(|_| repeated.unwrap_or_else(|| rng.next()))
                .collect();
            let world = Arc::clone(&world);
            async move { play_rounds(&world, &format!("user{lane}"), seeds).await }
        });
        for lane in join_all(lanes.collect::<Vec<_>>()).await {
            for result in lane {
                outcomes.add(result);
            }
        }
        world.servers[0].advance(180);
    }
    let Outcomes {
        rounds,
        seen,
        violations,
    } = &outcomes;
    print(&format!(
        "{backend:?}: {rounds} rounds in {:.1?}, {} violations, {seen:?}",
        started.elapsed(),
        violations.len()
    ));
    let first: Vec<_> = violations.iter().take(5).collect();
    assert!(
        first.is_empty(),
        "{} violations, to repeat a round set INTERLEAVINGS_SEED: {first:#?}",
        violations.len()
    );
    if repeated.is_none() && *rounds >= 50 {
        outcomes.assert_every_kind_occurred();
    }
}

/// Plays rounds sequentially. Returns kinds and violations of each.
async fn play_rounds(
    world: &Arc<World>,
    name: &str,
    seeds: Vec<u64>,
) -> Vec<(Vec<&'static str>, Vec<String>)> {
    let mut results = Vec::new();
    for seed in seeds {
        let record = world.play(name, Plan::new(seed)).await;
        let (outcome, mut violations) = world.check_afterwards(&record).await;
        violations.extend(judge(&record, &outcome));
        let violations = violations
            .into_iter()
            .map(|what| format!("seed {seed}: {what}\n{:?}", record.plan))
            .collect();
        results.push((kinds(&record, &outcome), violations));
    }
    results
}

/// Summary of the rounds. Each kind must occur, so that each guarantee is tested.
#[derive(Debug, Default)]
struct Outcomes {
    rounds: u64,
    seen: BTreeMap<&'static str, u64>,
    violations: Vec<String>,
}

const KINDS: [&str; 8] = [
    "lived",
    "logged out",
    "session epoch raised",
    "reuse",
    "one successor for several",
    "a client disconnected",
    "two rotations",
    "another client refused",
];

fn kinds(record: &Record, outcome: &Outcome) -> Vec<&'static str> {
    let reason = outcome.row.revoked.map(|(_, reason)| reason);
    let given = |event: &&Event| {
        matches!(event.what, Command::Refresh { .. })
            && event
                .answer
                .as_ref()
                .is_some_and(|(_, answer)| answer.status == 200)
    };
    let given = record.events.iter().filter(given).count();
    let rotations = usize::try_from(outcome.generation - record.plan.generation).unwrap();
    let happened = [
        !outcome.dead(),
        reason == Some(RevokedReason::LoggedOut),
        outcome.session_epoch != outcome.row.session_epoch,
        reason == Some(RevokedReason::Reuse),
        given > rotations,
        record.events.iter().any(|event| event.answer.is_none()),
        rotations > 1,
        record.other_client_was_refused(),
    ];
    KINDS
        .into_iter()
        .zip(happened)
        .filter(|(_, happened)| *happened)
        .map(|(kind, _)| kind)
        .collect()
}

impl Outcomes {
    fn add(&mut self, (kinds, violations): (Vec<&'static str>, Vec<String>)) {
        self.rounds += 1;
        for kind in kinds {
            *self.seen.entry(kind).or_default() += 1;
        }
        self.violations.extend(violations);
    }

    fn assert_every_kind_occurred(&self) {
        for kind in KINDS {
            assert!(
                self.seen.contains_key(kind),
                "no round of this kind: {kind}"
            );
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
    reason = "summary of the rounds, shown on --nocapture"
)]
fn print(text: &str) {
    println!("{text}");
}
