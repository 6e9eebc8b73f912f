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
use crate::{
    servers::eventually,
    world::{Instance, Wiring, World},
};

/// The rates at which honest clients send requests, and at which they must not be slower during an attack.
const BOUND: f64 = 3.0;
/// The minimum number of honest requests for a percentile.
const FEWEST: usize = 50;
/// A latency below this is noise of two cores.
const FLOOR: Duration = Duration::from_millis(25);

/// An attack that runs until it is stopped.
pub struct Attack {
    pub name: &'static str,
    pub what: &'static str,
    threads: usize,
    run: fn(&Target),
}

/// The means of an attacker.
pub struct Target {
    port: u16,
    /// The refresh token of a session that was ended.
    dead: String,
    /// The refresh token of a live session.
    live: String,
    /// The number of connections or requests made.
    count: AtomicU64,
    stop: AtomicBool,
}

/// The outcome of an attack.
pub struct Outcome {
    name: &'static str,
    made: u64,
    memory: (u64, u64),
    quiet: Latencies,
    during: Latencies,
}

pub const ALL: [Attack; 6] = [
    Attack {
        name: "gone-dead-session",
        what: "refreshes with the token of an ended session, each socket closed at once",
        threads: 4,
        run: attackers::gone_dead,
    },
    Attack {
        name: "gone-live-session",
        what: "refreshes with one token of a live session, each socket closed at once",
        threads: 4,
        run: attackers::gone_live,
    },
    Attack {
        name: "idle-connections",
        what: "2,000 connections that send nothing, opened again when they are closed",
        threads: 1,
        run: attackers::idle,
    },
    Attack {
        name: "slow-readers",
        what: "200 connections that ask for a large response and do not read it",
        threads: 1,
        run: attackers::slow_readers,
    },
    Attack {
        name: "endless-bodies",
        what: "200 connections that send a chunked body without an end to a resource that reads none",
        threads: 1,
        run: attackers::endless_bodies,
    },
    Attack {
        name: "junk",
        what: "requests for paths that there are not, on 8 connections",
        threads: 2,
        run: attackers::junk,
    },
];

/// Runs one attack on an instance that may open 1,024 files, as usual on servers.
pub async fn run(attack: &Attack, seconds: u64) -> Outcome {
    let wiring = Wiring {
        open_files: Some(1024),
        ..Wiring::default()
    };
    let world = World::start(&format!("attack-{}", attack.name), wiring, 8).await;
    let wire = world.wire();
    eventually("all are ready", async || wire.all_ready().await).await;
    let pair = async |user: &str| {
        wire.obtain(0, user, crate::wire::PASSWORD)
            .await
            .pair()
            .expect("a sign-in")
    };
    let (dead, live) = (pair("user0").await.refresh, pair("user1").await.refresh);
    assert!(
        wire.blacklist(0, &dead).await.ok(),
        "the session could not be ended"
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
    // A connection for each request: what keeps new connections out is noticed, too.
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
    let made = target.count.load(Ordering::SeqCst);
    Outcome {
        name: attack.name,
        made,
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
    /// Promises that were broken.
    pub fn violations(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (name, (quiet, during)) in NAMES
            .iter()
            .zip(self.quiet.by_name().into_iter().zip(self.during.by_name()))
        {
            if during.failed > 0 {
                wrong.push(format!("{name}: {} honest requests failed", during.failed));
            }
            let (before, after) = (quiet.percentile(99).max(FLOOR), during.percentile(99));
            if during.count() >= FEWEST && after.as_secs_f64() > before.as_secs_f64() * BOUND {
                wrong.push(format!(
                    "{name}: p99 {after:?}, and {before:?} without the attack"
                ));
            }
        }
        wrong
    }
}

/// A table of all outcomes.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut text = String::from("| attack | made by it | memory before, during |");
    for name in NAMES {
        let _ = write!(text, " {name}: p50 / p99, quiet | during | failed |");
    }
    text.push_str("\n|---|--:|--:|");
    text.push_str(&"--:|--:|--:|".repeat(NAMES.len()));
    text.push('\n');
    for Outcome {
        name,
        made,
        memory: (before, after),
        quiet,
        during,
    } in outcomes
    {
        let _ = write!(text, "| {name} | {made} | {before}, {after} MiB |");
        for (quiet, during) in quiet.by_name().into_iter().zip(during.by_name()) {
            let _ = write!(
                text,
                " {} | {} | {} |",
                quiet.told(),
                during.told(),
                during.failed
            );
        }
        text.push('\n');
    }
    text
}
