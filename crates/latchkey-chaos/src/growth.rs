//! Growth of the table, of Redis and of memory over many rotations.

use std::{fmt::Write as _, sync::Arc, time::Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    load::{Shared, obtained},
    tally::Outcome,
    wire::Wire,
    world::{Wiring, World},
};
use latchkey_testkit::{Pair, servers::eventually};

/// Clients, each of which rotates its own sessions in turn.
const CLIENTS: u64 = 32;
const SESSIONS: u64 = 1000;

/// Keys that do not depend on the number of sessions: a cache epoch for each bucket, and tickets of
/// rebuilds.
const FIXED_KEYS: i64 = 16 * 4;

/// The table may double once, for room on each page for new row versions. After that it must not
/// grow.
const MAX_TABLE_FACTOR: i64 = 2;
const TABLE_MARGIN: i64 = 256 * 1024;
/// Maximum number of dead row versions for each row. A page is pruned when it is full, and rows
/// inserted on many connections are spread over many pages. The limits above bound the size of the
/// table.
const MAX_DEAD_PER_ROW: i64 = 10;
/// Minimum share of heap-only updates, in per cent, with a fillfactor of 80.
const MIN_HOT_SHARE: i64 = 90;
/// Maximum growth of an instance between the middle and the end of the run, in KiB.
const MAX_MEMORY_GROWTH: i64 = 32 * 1024;

/// Numbers at one time.
struct Sample {
    rotations: u64,
    rows: i64,
    bytes: i64,
    dead: i64,
    updates: i64,
    hot: i64,
    keys: i64,
    redis_bytes: i64,
    /// Resident memory of the largest instance, in KiB.
    memory: i64,
}

/// Numbers before the rotations and after each step.
pub struct Growth {
    sessions: u64,
    seconds: f32,
    samples: Vec<Sample>,
}

pub async fn run(rotations: u64) -> Growth {
    // A short run has fewer sessions, so that each session is still rotated often.
    let sessions = SESSIONS.min(rotations / 20);
    let world = World::start(
        "growth",
        Wiring::default(),
        usize::try_from(sessions).unwrap(),
    )
    .await;
    let wire = world.wire();
    eventually("all instances are ready", async || wire.all_ready().await).await;
    println!("{sessions} sessions, {rotations} rotations");
    let mut held = sign_in(&wire, sessions).await;
    let mut samples = vec![sample(&world, 0, 0).await];
    let began = Instant::now();
    for step in 1..=STEPS {
        let each = rotations.div_ceil(STEPS * CLIENTS);
        held = rotate(&wire, held, each).await;
        let done = each * CLIENTS * step;
        println!(
            "  {done} rotations after {:.0} s",
            began.elapsed().as_secs_f32()
        );
        // A connection reports its statistics after some idle seconds. Only the last sample waits
        // for that.
        samples.push(sample(&world, if step == STEPS { done } else { 0 }, done).await);
    }
    Growth {
        sessions,
        seconds: began.elapsed().as_secs_f32(),
        samples,
    }
}

const STEPS: u64 = 4;

async fn sign_in(wire: &Wire, sessions: u64) -> Vec<Vec<Pair>> {
    let shared = Arc::new(Shared::new(wire.clone()));
    let mut tasks = JoinSet::new();
    for client in 0..CLIENTS {
        let shared = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut pairs = Vec::new();
            for number in (0..sessions).filter(|number| number % CLIENTS == client) {
                pairs.push(
                    obtained(
                        &shared,
                        &format!("user{number}"),
                        usize::try_from(client).unwrap(),
                    )
                    .await,
                );
            }
            pairs
        });
    }
    tasks.join_all().await
}

/// Performs this many rotations with each client.
async fn rotate(wire: &Wire, held: Vec<Vec<Pair>>, each: u64) -> Vec<Vec<Pair>> {
    let mut tasks = JoinSet::new();
    for mut pairs in held {
        let wire = wire.clone();
        tasks.spawn(async move {
            let count = pairs.len();
            for number in 0..usize::try_from(each).unwrap() {
                let pair = &mut pairs[number % count];
                loop {
                    let answer = wire.refresh(number % wire.instances(), &pair.refresh).await;
                    match (answer.outcome, answer.pair()) {
                        (Outcome::Answered, Some(next)) => *pair = next,
                        (Outcome::Unavailable | Outcome::Broken, _) => continue,
                        _ => panic!("a valid token was refused: {}", answer.summary()),
                    }
                    break;
                }
            }
            pairs
        });
    }
    tasks.join_all().await
}

async fn sample(world: &World, complete: u64, rotations: u64) -> Sample {
    let client = world.postgres.client().await;
    let statistics = "SELECT n_dead_tup, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'sessions'";
    eventually("the statistics are complete", async || {
        let row = client.query_one(statistics, &[]).await.unwrap();
        u64::try_from(row.get::<_, i64>(1)).unwrap() >= complete
    })
    .await;
    let row = client.query_one(statistics, &[]).await.unwrap();
    let size = "SELECT count(*), pg_total_relation_size('sessions') FROM sessions";
    let (rows, bytes) = world.postgres.two_numbers(size).await;
    let info: String = world.redis.first().ask(&["INFO", "memory"]).await;
    let used = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"))
        .unwrap();
    let memory = world
        .instances
        .iter()
        .map(super::world::Instance::memory)
        .max()
        .unwrap_or_default();
    Sample {
        rotations,
        rows,
        bytes,
        dead: row.get(0),
        updates: row.get(1),
        hot: row.get(2),
        keys: world.redis.first().ask(&["DBSIZE"]).await,
        redis_bytes: used.trim().parse().unwrap(),
        memory: i64::try_from(memory).unwrap(),
    }
}

impl Sample {
    /// Returns the share of heap-only updates in per cent, or 100 without updates.
    fn hot_share(&self) -> i64 {
        if self.updates == 0 {
            100
        } else {
            self.hot * 100 / self.updates
        }
    }
}

impl Growth {
    /// Returns the numbers above their limits, in words.
    pub fn violations(&self) -> Vec<String> {
        let (first, middle, last) = (
            &self.samples[0],
            &self.samples[self.samples.len() / 2],
            &self.samples[self.samples.len() - 1],
        );
        let mut violations = Vec::new();
        let mut check = |number: i64, maximum: i64, what: &str| {
            if number > maximum {
                violations.push(format!("{what}: {number}, maximum {maximum}"));
            }
        };
        check(last.rows, first.rows, "rows of sessions");
        check(
            last.bytes,
            first.bytes * MAX_TABLE_FACTOR + TABLE_MARGIN,
            "bytes of sessions with its indexes",
        );
        check(last.dead, last.rows * MAX_DEAD_PER_ROW, "dead row versions");
        check(
            MIN_HOT_SHARE,
            last.hot_share(),
            "minimum share of heap-only updates in per cent, against the share",
        );
        check(last.keys, last.rows + FIXED_KEYS, "keys in Redis");
        check(
            last.redis_bytes,
            middle.redis_bytes * 3 / 2,
            "bytes of Redis, compared with the middle of the run",
        );
        check(
            last.memory,
            middle.memory + MAX_MEMORY_GROWTH,
            "KiB of the largest instance, compared with the middle of the run",
        );
        violations
    }

    pub fn table(&self) -> String {
        let mut text = format!(
            "{} sessions on three instances, {CLIENTS} clients, {:.0} s.\n\n\
             | rotations | rows of `sessions` | with indexes | dead versions | heap-only updates | keys in Redis | \
             memory of Redis | memory of the largest instance |\n|--:|--:|--:|--:|--:|--:|--:|--:|\n",
            self.sessions, self.seconds
        );
        for sample in &self.samples {
            let _ = writeln!(
                text,
                "| {} | {} | {} KiB | {} | {} % | {} | {} KiB | {} KiB |",
                sample.rotations,
                sample.rows,
                sample.bytes / 1024,
                sample.dead,
                sample.hot_share(),
                sample.keys,
                sample.redis_bytes / 1024,
                sample.memory
            );
        }
        text
    }

    pub fn json(&self) -> Value {
        let sample = |sample: &Sample| {
            json!({
                "rotations": sample.rotations, "rows": sample.rows, "bytes": sample.bytes, "dead": sample.dead,
                "updates": sample.updates, "hot": sample.hot, "redis_keys": sample.keys,
                "redis_bytes": sample.redis_bytes, "memory_kib": sample.memory,
            })
        };
        let samples: Vec<_> = self.samples.iter().map(sample).collect();
        json!({ "sessions": self.sessions, "seconds": self.seconds, "samples": samples, "violations": self.violations() })
    }
}
