//! Runs one arrangement: rotations under load, then a revocation of a key of each kind.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep};

use crate::{
    checkers,
    load::{Client, Shared, obtained},
    rotations::{
        feed::{Signed, feed},
        offline::{Offline, Verified},
        operator::{self, Order},
        revoke::{self, Revoked},
    },
    tally::{Counts, Operation},
    world::{INSTANCES, Wiring, World},
};
use latchkey_testkit::servers::eventually;

/// Number of clients.
const CLIENTS: usize = 3;
/// Sessions that are not used until the end, so that their tokens are older than every new secret.
const IDLE_SESSIONS: usize = 6;
/// One user for each client and each feeder, and one each for the idle sessions and the
/// revocations.
const USERS: usize = CLIENTS + INSTANCES + 2;

/// Time of load before the first key is created.
const TIME_BEFORE: Duration = Duration::from_secs(1);

/// Location of the keys and settings of the instances.
#[derive(Clone, Copy)]
pub struct Arrangement {
    pub place: &'static str,
    wiring: Wiring,
}

/// Minimum publish lead. A verifier sees a new key at least five seconds before it signs.
pub const LEAD: Duration = Duration::from_secs(6);
const SHORT: [(&str, &str); 2] = [
    ("LATCHKEY_JWKS_MAX_AGE", "1s"),
    ("LATCHKEY_KEY_PUBLISH_LEAD", "6s"),
];

pub const ALL: [Arrangement; 2] = [
    Arrangement {
        place: "a directory",
        wiring: wiring(&SHORT, &[]),
    },
    Arrangement {
        place: "the database",
        wiring: wiring(
            &[
                SHORT[0],
                SHORT[1],
                ("LATCHKEY_KEYS", "database"),
                ("LATCHKEY_KEYS_PASSPHRASE_FILE", "passphrase"),
            ],
            &[("passphrase", "a passphrase for a run of the rotations\n")],
        ),
    },
];

const fn wiring(
    settings: &'static [(&'static str, &'static str)],
    files: &'static [(&'static str, &'static str)],
) -> Wiring {
    let redis = crate::caches::SetUp::One;
    Wiring {
        redis,
        redis_proxy_for_first: false,
        postgres_proxy: false,
        open_files: None,
        settings,
        files,
    }
}

/// Outcome of a rotation.
pub struct Rotated {
    pub order: Order,
    /// Number of new keys in the store.
    pub created: usize,
    /// Seconds from the command to the first token that the new key signed.
    pub signed_after: f32,
}

/// Outcome of an arrangement.
pub struct Outcome {
    pub place: &'static str,
    pub counts: BTreeMap<Operation, Counts>,
    pub rotated: Vec<Rotated>,
    pub revoked: Vec<Revoked>,
    pub seconds: f32,
    /// Violations in words.
    pub reports: Vec<String>,
    pub verified: Vec<Verified>,
}

impl Outcome {
    pub fn failed(&self) -> bool {
        let violated = self
            .counts
            .values()
            .any(|counts| counts.violations.values().any(|number| *number > 0));
        let refused = self.verified.iter().any(|verified| verified.refused > 0);
        let misrotated = self.rotated.iter().any(|rotated| !rotated.is_correct());
        violated || refused || misrotated || self.revoked.iter().any(Revoked::failed)
    }
}

impl Rotated {
    /// True if one key was created and did not sign before every verifier could fetch it.
    pub fn is_correct(&self) -> bool {
        self.created == 1 && self.signed_after >= LEAD.as_secs_f32()
    }
}

pub async fn run(arrangement: Arrangement, rotations: u32, between: Duration) -> Outcome {
    let name = format!(
        "rotations-{}",
        arrangement.place.rsplit(' ').next().unwrap_or_default()
    );
    let world = World::start(&name, arrangement.wiring, USERS).await;
    let wire = world.wire();
    eventually("all instances are ready", async || wire.all_ready().await).await;
    let shared = Arc::new(Shared::new(wire));
    let urls: Vec<_> = world
        .instances
        .iter()
        .map(|one| format!("http://127.0.0.1:{}", one.port))
        .collect();
    let key_sets: Vec<_> = urls
        .iter()
        .map(|url| format!("{url}/.well-known/jwks.json"))
        .collect();
    let (offline, verifiers) = Offline::start(&urls[0], &key_sets);
    let signed = Arc::new(Signed::default());

    let mut live = Vec::new();
    for number in 0..IDLE_SESSIONS {
        live.push(obtained(&shared, &format!("user{}", USERS - 2), number).await);
    }
    let mut sessions = JoinSet::new();
    for number in 0..CLIENTS {
        sessions.spawn(Client::sign_in(Arc::clone(&shared), number).await.run());
    }
    for number in CLIENTS..CLIENTS + INSTANCES {
        sessions.spawn(feed(
            Arc::clone(&shared),
            format!("user{number}"),
            offline.clone(),
            Arc::clone(&signed),
        ));
    }
    for instance in 0..INSTANCES {
        let dead = checkers::dead(Arc::clone(&shared), instance);
        let idle = live[0].clone();
        sessions.spawn(async move {
            dead.await;
            idle
        });
    }
    drop(offline);
    sleep(TIME_BEFORE).await;
    let mut rotated = Vec::new();
    for number in 0..rotations {
        rotated.push(rotate(&world, Order::number(number), &signed, between).await);
    }
    shared.stop();
    let seconds = shared.wire.tally.seconds();
    while let Some(pair) = sessions.join_next().await {
        live.push(pair.expect("a client ends without a panic"));
    }
    let mut verified = Vec::new();
    for verifier in verifiers {
        verified.push(verifier.await.expect("a verifier ends without a panic"));
    }
    checkers::audit(&shared, &live).await;
    // A log-out that an instance could not write to Redis reaches the others within the documented
    // second.
    shared.wire.tally.settle(world.entries_not_written() > 0);
    let (counts, mut reports) = shared.wire.tally.read();
    reports.extend(
        verified
            .iter()
            .flat_map(|verified| verified.reports.clone()),
    );
    let user = format!("user{}", USERS - 1);
    let mut revoked = Vec::new();
    for usage in ["access", "refresh"] {
        revoked.push(revoke::revoke(&world, &shared, &user, usage).await);
    }
    reports.extend(revoked.iter().flat_map(|revoked| revoked.reports.clone()));
    Outcome {
        place: arrangement.place,
        counts,
        rotated,
        revoked,
        seconds,
        reports,
        verified,
    }
}

async fn rotate(world: &World, order: Order, signed: &Signed, between: Duration) -> Rotated {
    let began = Instant::now();
    let before = operator::list(world).await;
    let ordered = Instant::now();
    operator::rotate(world, order).await;
    let mut created = operator::list(world).await;
    created.retain(|key| before.iter().all(|old| old.kid != key.kid));
    let is_requested =
        |key: &operator::Key| key.usage == order.usage && key.algorithm == order.algorithm;
    let key = created
        .iter()
        .find(|key| is_requested(key))
        .unwrap_or_else(|| panic!("{order:?} created {created:?}"));
    let mut since = None;
    eventually("the new key signs", async || {
        since = signed.since(&key.kid);
        since.is_some()
    })
    .await;
    println!(
        "  {} for {} tokens signs from {}",
        key.algorithm,
        key.usage,
        key.signs_from.format("%T")
    );
    sleep(between.saturating_sub(began.elapsed())).await;
    Rotated {
        order,
        created: created.len(),
        signed_after: (since.unwrap() - ordered).as_secs_f32(),
    }
}
