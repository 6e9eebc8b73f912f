//! One fault after the other, each in a world of its own.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep};

use crate::{
    checkers,
    fault::{Fault, Held, MEANWHILE},
    load::{Client, End, Shared, beat, obtained},
    servers::eventually,
    tally::{Counts, Operation},
    wire::Pair,
    world::{INSTANCES, World},
};

const CLIENTS: usize = 8;
/// Sessions that are left alone.
const LIVE: usize = 6;
/// Sessions that are ended before the fault.
const DEAD: usize = 12;
/// Users of the clients, of the other sessions, of the one who tries passwords, and of those who were cut off.
const USERS: usize = CLIENTS + 3;

/// Before the fault, and at the least after it.
const CALM: Duration = Duration::from_secs(1);
const AFTER: Duration = Duration::from_secs(3);
/// Longer than this, and it counts as not recovered.
const RECOVERY: Duration = Duration::from_secs(20);

/// What a fault came to.
pub struct Outcome {
    pub fault: Fault,
    pub counts: BTreeMap<Operation, Counts>,
    /// Violations in words.
    pub told: Vec<String>,
    /// Marks that an instance could not write to Redis, by its own log.
    pub unmarked: usize,
    /// From healing to the last 503 or broken connection, in seconds; `None` if there was no end of them.
    pub recovery: Option<f32>,
    /// From healing until every instance says that all is well, in seconds.
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
    eventually("all are ready", async || wire.all_ready().await).await;
    let shared = Arc::new(Shared::new(wire.clone()));
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(Client::sign_in(Arc::clone(&shared), number).await);
    }
    let mut live = Vec::new();
    for number in 0..LIVE {
        live.push(obtained(&shared, &format!("user{CLIENTS}"), number).await);
    }
    fault.prepare(&world).await;
    bury_some(&shared).await;

    let (mut sessions, mut askers) = start(&shared, clients, &live);
    sleep(CALM).await;
    let mut held = Held::default();
    fault.begin(&mut world, &mut held).await;
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut beats = beat(MEANWHILE);
    while Instant::now() < end {
        beats.tick().await;
        fault.meanwhile(&world).await;
    }
    fault.heal(&mut world, &mut held).await;
    let healed = Instant::now();
    let (recovery, ready) = recover(&shared, healed).await;
    shared.stop();
    let seconds = shared.wire.tally.seconds();
    while let Some(of_client) = sessions.join_next().await {
        live.extend(of_client.expect("a client has ended well"));
    }
    while let Some(asker) = askers.join_next().await {
        asker.expect("a checker has ended well");
    }
    checkers::audit(&shared, &live).await;
    let unmarked = world.marks_not_taken();
    shared
        .wire
        .tally
        .settle(unmarked > 0 && !fault.hides_redis());
    let (counts, told) = shared.wire.tally.read();
    Outcome {
        fault,
        counts,
        told,
        unmarked,
        recovery,
        ready,
        seconds,
    }
}

/// Ends sessions one by one, and others all at once.
async fn bury_some(shared: &Shared) {
    let mut cut_off = Vec::new();
    for number in 0..DEAD {
        let end = End::number(number);
        let user = if let End::Everywhere = end {
            CLIENTS + 2
        } else {
            CLIENTS
        };
        let pair = obtained(shared, &format!("user{user}"), number).await;
        if let End::Everywhere = end {
            cut_off.push(pair);
        } else {
            assert!(
                end.ask(&shared.wire, number % INSTANCES, &pair).await.ok(),
                "{end:?} before the fault"
            );
            shared.bury(pair);
        }
    }
    assert!(
        End::Everywhere.ask(&shared.wire, 0, &cut_off[0]).await.ok(),
        "all at once before the fault"
    );
    for pair in cut_off {
        shared.bury(pair);
    }
}

/// Those who give back sessions that must be alive at the end, and the others.
fn start(
    shared: &Arc<Shared>,
    clients: Vec<Client>,
    live: &[Pair],
) -> (JoinSet<Vec<Pair>>, JoinSet<()>) {
    let (mut sessions, mut askers) = (JoinSet::new(), JoinSet::new());
    for client in clients {
        sessions.spawn(async move { vec![client.run().await] });
    }
    sessions.spawn(checkers::passwords(
        Arc::clone(shared),
        format!("user{}", CLIENTS + 1),
    ));
    for instance in 0..INSTANCES {
        askers.spawn(checkers::dead(Arc::clone(shared), instance));
        askers.spawn(checkers::live(Arc::clone(shared), instance, live.to_vec()));
    }
    (sessions, askers)
}

/// Waits for a second without trouble and for all to be ready.
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
        let over = healed.elapsed() >= RECOVERY;
        if over || (quiet && ready.is_some() && healed.elapsed() >= AFTER) {
            let trouble = last.map_or(0.0, |last| (last - healed).as_secs_f32());
            return (quiet.then_some(trouble), ready);
        }
    }
}
