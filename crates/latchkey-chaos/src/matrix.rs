//! Runs one fault on its own servers and instances.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep};

use crate::{
    checkers,
    fault::{Fault, Held, REPEAT_INTERVAL},
    load::{Client, End, Shared, beat, obtained},
    tally::{Counts, Operation},
    world::{INSTANCES, World},
};
use latchkey_testkit::{Pair, servers::eventually};

const CLIENTS: usize = 8;
/// Sessions that are only verified during the fault.
const LIVE_SESSIONS: usize = 6;
/// Sessions that are revoked before the fault.
const REVOKED_SESSIONS: usize = 12;
/// One user for each client, and one each for the other sessions, the password checker and the
/// log-out everywhere.
const USERS: usize = CLIENTS + 3;

/// Time of load before the fault, and minimum time after it.
const TIME_BEFORE: Duration = Duration::from_secs(1);
const MIN_TIME_AFTER: Duration = Duration::from_secs(3);
/// Maximum time for a recovery.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(20);

/// Outcome of a fault.
pub struct Outcome {
    pub fault: Fault,
    pub counts: BTreeMap<Operation, Counts>,
    /// Violations in words.
    pub reports: Vec<String>,
    /// Log lines of the instances about entries that were not written to Redis.
    pub entries_not_written: usize,
    /// Seconds from the end of the fault to the last 503 or broken connection, or `None` if they
    /// did not stop.
    pub recovery: Option<f32>,
    /// Seconds from the end of the fault until every instance is ready, or `None` if one is not.
    pub ready: Option<f32>,
    pub seconds: f32,
}

impl Outcome {
    pub fn failed(&self) -> bool {
        let violated = self
            .counts
            .values()
            .any(|counts| counts.violations.values().any(|number| *number > 0));
        violated || self.recovery.is_none() || self.ready.is_none()
    }
}

pub async fn run(fault: Fault, seconds: u64) -> Outcome {
    let mut world = World::start(fault.name, fault.wiring(), USERS).await;
    let wire = world.wire();
    eventually("all instances are ready", async || wire.all_ready().await).await;
    let shared = Arc::new(Shared::new(wire.clone()));
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(Client::sign_in(Arc::clone(&shared), number).await);
    }
    let mut live = Vec::new();
    for number in 0..LIVE_SESSIONS {
        live.push(obtained(&shared, &format!("user{CLIENTS}"), number).await);
    }
    fault.prepare(&world).await;
    revoke_sessions(&shared).await;

    let (mut sessions, mut checkers) = start(&shared, clients, &live);
    sleep(TIME_BEFORE).await;
    let mut held = Held::default();
    fault.begin(&mut world, &mut held).await;
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut beats = beat(REPEAT_INTERVAL);
    while Instant::now() < end {
        beats.tick().await;
        fault.meanwhile(&world).await;
    }
    fault.heal(&mut world, &mut held).await;
    let healed = Instant::now();
    let (recovery, ready) = recover(&shared, healed).await;
    shared.stop();
    let seconds = shared.wire.tally.seconds();
    while let Some(pairs) = sessions.join_next().await {
        live.extend(pairs.expect("a client ends without a panic"));
    }
    while let Some(checker) = checkers.join_next().await {
        checker.expect("a checker ends without a panic");
    }
    checkers::audit(&shared, &live).await;
    let entries_not_written = world.entries_not_written();
    shared
        .wire
        .tally
        .settle(entries_not_written > 0 && !fault.hides_redis());
    let (counts, reports) = shared.wire.tally.read();
    Outcome {
        fault,
        counts,
        reports,
        entries_not_written,
        recovery,
        ready,
        seconds,
    }
}

/// Revokes sessions one by one, and those of another user all at once.
async fn revoke_sessions(shared: &Shared) {
    let mut signed_out = Vec::new();
    for number in 0..REVOKED_SESSIONS {
        let end = End::number(number);
        let user = if let End::Everywhere = end {
            CLIENTS + 2
        } else {
            CLIENTS
        };
        let pair = obtained(shared, &format!("user{user}"), number).await;
        if let End::Everywhere = end {
            signed_out.push(pair);
        } else {
            assert!(
                end.ask(&shared.wire, number % INSTANCES, &pair).await.ok(),
                "{end:?} before the fault"
            );
            shared.bury(pair);
        }
    }
    assert!(
        End::Everywhere
            .ask(&shared.wire, 0, &signed_out[0])
            .await
            .ok(),
        "log-out everywhere before the fault"
    );
    for pair in signed_out {
        shared.bury(pair);
    }
}

/// Starts the tasks that return sessions, which must be alive at the end, and the checkers, which
/// return none.
fn start(
    shared: &Arc<Shared>,
    clients: Vec<Client>,
    live: &[Pair],
) -> (JoinSet<Vec<Pair>>, JoinSet<()>) {
    let (mut sessions, mut checkers) = (JoinSet::new(), JoinSet::new());
    for client in clients {
        sessions.spawn(async move { vec![client.run().await] });
    }
    sessions.spawn(checkers::passwords(
        Arc::clone(shared),
        format!("user{}", CLIENTS + 1),
    ));
    for instance in 0..INSTANCES {
        checkers.spawn(checkers::dead(Arc::clone(shared), instance));
        checkers.spawn(checkers::live(Arc::clone(shared), instance, live.to_vec()));
    }
    (sessions, checkers)
}

/// Waits for a second without errors and until all instances are ready.
async fn recover(shared: &Shared, healed: Instant) -> (Option<f32>, Option<f32>) {
    let mut beats = beat(Duration::from_millis(50));
    let mut ready = None;
    loop {
        beats.tick().await;
        if ready.is_none() && shared.wire.all_ready().await {
            ready = Some(healed.elapsed().as_secs_f32());
        }
        let last = shared
            .wire
            .tally
            .last_trouble()
            .filter(|last| *last > healed);
        let quiet = last.is_none_or(|last| last.elapsed() >= Duration::from_secs(1));
        let over = healed.elapsed() >= RECOVERY_TIMEOUT;
        if over || (quiet && ready.is_some() && healed.elapsed() >= MIN_TIME_AFTER) {
            let trouble = last.map_or(0.0, |last| (last - healed).as_secs_f32());
            return (quiet.then_some(trouble), ready);
        }
    }
}
