//! Attacks on an instance, and their effect on honest clients: `scripts/faults --attacks`.

mod attackers;
pub mod cost;
mod honest;

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use self::honest::{Latencies, NAMES};
use crate::world::{Instance, Wiring, World};
use latchkey_testkit::servers::eventually;

/// Maximum p99 of honest requests during an attack, as a multiple of the p99 without it.
const MAX_SLOWDOWN: f64 = 3.0;
/// Minimum number of honest requests for a percentile.
const MIN_REQUESTS: usize = 50;
/// A latency below this is noise on two cores.
const NOISE: Duration = Duration::from_millis(25);

/// An attack that runs until it is stopped.
pub struct Attack {
    pub name: &'static str,
    pub what: &'static str,
    threads: usize,
    run: fn(&Target),
}

/// The attacked instance, and tokens for the attack.
pub struct Target {
    port: u16,
    /// Refresh token of a revoked session.
    dead: String,
    /// Refresh token of a live session.
    live: String,
    /// Number of connections opened.
    count: AtomicU64,
    stop: AtomicBool,
}

/// Outcome of an attack.
pub struct Outcome {
    name: &'static str,
    attempts: u64,
    memory: (u64, u64),
    quiet: Latencies,
    during: Latencies,
}

pub const ALL: [Attack; 6] = [
    Attack {
        name: "hang-up-revoked-session",
        what: "refreshes with the token of a revoked session, each connection closed at once",
        threads: 4,
        run: attackers::hang_up_revoked,
    },
    Attack {
        name: "hang-up-live-session",
        what: "refreshes with one token of a live session, each connection closed at once",
        threads: 4,
        run: attackers::hang_up_live,
    },
    Attack {
        name: "idle-connections",
        what: "2,000 connections that send nothing, reopened after a close",
        threads: 1,
        run: attackers::idle,
    },
    Attack {
        name: "slow-readers",
        what: "200 connections that request a large response and do not read it",
        threads: 1,
        run: attackers::slow_readers,
    },
    Attack {
        name: "endless-bodies",
        what: "200 connections that send an endless chunked body to a resource that reads none",
        threads: 1,
        run: attackers::endless_bodies,
    },
    Attack {
        name: "junk",
        what: "requests for unknown paths, on 8 connections",
        threads: 2,
        run: attackers::junk,
    },
];

/// Runs one attack on an instance with the usual limit of 1,024 open files.
pub async fn run(attack: &Attack, seconds: u64) -> Outcome {
    let wiring = Wiring {
        open_files: Some(1024),
        ..Wiring::default()
    };
    let world = World::start(&format!("attack-{}", attack.name), wiring, 8).await;
    let wire = world.wire();
    eventually("all instances are ready", async || wire.all_ready().await).await;
    let pair = async |user: &str| {
        wire.obtain(0, user, latchkey_testkit::PASSWORD)
            .await
            .pair()
            .expect("a sign-in")
    };
    let (dead, live) = (pair("user0").await.refresh, pair("user1").await.refresh);
    assert!(
        wire.blacklist(0, &dead).await.ok(),
        "the session was not revoked"
    );
    let (port, count, stop) = (
        world.instances[0].port,
        AtomicU64::default(),
        AtomicBool::default(),
    );
    let target = Arc::new(Target {
        port,
        dead,
        live,
        count,
        stop,
    });
    let length = Duration::from_secs(seconds);
    // A connection for each request, so that an attack on new connections is detected, too.
    let wire = wire.without_keep_alive();
    let quiet = honest::measure(&wire, length).await;
    let before = memory(&world);
    let attackers: Vec<_> = (0..attack.threads)
        .map(|_| (Arc::clone(&target), attack.run))
        .map(|(target, run)| thread::spawn(move || run(&target)))
        .collect();
    let during = honest::measure(&wire, length).await;
    let after = memory(&world);
    target.stop.store(true, Ordering::SeqCst);
    for attacker in attackers {
        attacker.join().expect("an attacker ends");
    }
    let attempts = target.count.load(Ordering::SeqCst);
    Outcome {
        name: attack.name,
        attempts,
        memory: (before, after),
        quiet,
        during,
    }
}

fn memory(world: &World) -> u64 {
    world
        .instances
        .first()
        .map(Instance::memory)
        .unwrap_or_default()
        / 1024
}

impl Outcome {
    /// Returns the broken guarantees in words.
    pub fn violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        for (name, (quiet, during)) in NAMES
            .iter()
            .zip(self.quiet.by_name().into_iter().zip(self.during.by_name()))
        {
            if during.failed > 0 {
                violations.push(format!("{name}: {} honest requests failed", during.failed));
            }
            let (before, after) = (quiet.percentile(99).max(NOISE), during.percentile(99));
            if during.count() >= MIN_REQUESTS
                && after.as_secs_f64() > before.as_secs_f64() * MAX_SLOWDOWN
            {
                violations.push(format!(
                    "{name}: p99 {after:?}, and {before:?} without the attack"
                ));
            }
        }
        violations
    }
}

/// Returns a table of all outcomes.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut text = String::from("| attack | attempts | memory before, during |");
    for name in NAMES {
        let _ = write!(text, " {name}: p50 / p99, quiet | during | failed |");
    }
    text.push_str("\n|---|--:|--:|");
    text.push_str(&"--:|--:|--:|".repeat(NAMES.len()));
    text.push('\n');
    for Outcome {
        name,
        attempts,
        memory: (before, after),
        quiet,
        during,
    } in outcomes
    {
        let _ = write!(text, "| {name} | {attempts} | {before}, {after} MiB |");
        for (quiet, during) in quiet.by_name().into_iter().zip(during.by_name()) {
            let _ = write!(
                text,
                " {} | {} | {} |",
                quiet.summary(),
                during.summary(),
                during.failed
            );
        }
        text.push('\n');
    }
    text
}
