//! One arrangement: rotations under load, then a revocation of either kind.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep};

use crate::{
    checkers,
    feed::{Signed, feed},
    load::{Client, Shared, obtained},
    offline::{Offline, Verified},
    operator::{self, Order},
    revoke::{self, Revoked},
    servers::eventually,
    tally::{Counts, Operation},
    world::{INSTANCES, Wiring, World},
};

/// Clients of the load.
const CLIENTS: usize = 3;
/// Sessions that are left alone until all is over: what they hold is older than every new secret.
const SLEEPERS: usize = 6;
/// Of the clients, of those who feed the verifiers, of the sleepers, and of those whose key is revoked.
const USERS: usize = CLIENTS + INSTANCES + 2;

/// Long enough for every part to be busy before the first key is made.
const CALM: Duration = Duration::from_secs(1);

/// Where the keys are.
#[derive(Clone, Copy)]
pub struct Arrangement {
    pub place: &'static str,
    wiring: Wiring,
}

/// As short as the settings may be: a verifier sees a new key five seconds before it signs, and not a second more.
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

/// What a rotation came to.
pub struct Rotated {
    pub order: Order,
    /// Keys that the store has more than before.
    pub made: usize,
    /// From the order to the first token that the new key signed, in seconds.
    pub signed_after: f32,
}

/// What an arrangement came to.
pub struct Outcome {
    pub place: &'static str,
    pub counts: BTreeMap<Operation, Counts>,
    pub rotated: Vec<Rotated>,
    pub revoked: Vec<Revoked>,
    pub seconds: f32,
    /// What was wrong, in words.
    pub told: Vec<String>,
    pub verified: Vec<Verified>,
}

impl Outcome {
    pub fn failed(&self) -> bool {
        let violated = self
            .counts
            .values()
            .any(|counts| counts.violations.values().any(|number| *number > 0));
        let refused = self.verified.iter().any(|verified| verified.refused > 0);
        let rotated_badly = self.rotated.iter().any(|rotated| !rotated.is_right());
        violated || refused || rotated_badly || self.revoked.iter().any(Revoked::failed)
    }
}

impl Rotated {
    /// One key, and not before every verifier could have seen it.
    pub fn is_right(&self) -> bool {
        self.made == 1 && self.signed_after >= LEAD.as_secs_f32()
    }
}

pub async fn run(arrangement: Arrangement, rotations: u32, between: Duration) -> Outcome {
    let name = format!(
        "rotations-{}",
        arrangement.place.rsplit(' ').next().unwrap_or_default()
    );
    let world = World::start(&name, arrangement.wiring, USERS).await;
    let wire = world.wire();
    eventually("all are ready", async || wire.all_ready().await).await;
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
    for number in 0..SLEEPERS {
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
        let nobody = live[0].clone();
        sessions.spawn(async move {
            dead.await;
            nobody
        });
    }
    drop(offline);
    sleep(CALM).await;
    let mut rotated = Vec::new();
    for number in 0..rotations {
        rotated.push(rotate(&world, Order::number(number), &signed, between).await);
    }
    shared.stop();
    let seconds = shared.wire.tally.seconds();
    while let Some(pair) = sessions.join_next().await {
        live.push(pair.expect("a client has ended well"));
    }
    let mut verified = Vec::new();
    for verifier in verifiers {
        verified.push(verifier.await.expect("a verifier has ended well"));
    }
    checkers::audit(&shared, &live).await;
    // A log-out that an instance could not tell Redis reaches the others within a second: that is announced.
    shared.wire.tally.settle(world.marks_not_taken() > 0);
    let (counts, mut told) = shared.wire.tally.read();
    told.extend(verified.iter().flat_map(|verified| verified.told.clone()));
    let user = format!("user{}", USERS - 1);
    let mut revoked = Vec::new();
    for usage in ["access", "refresh"] {
        revoked.push(revoke::revoke(&world, &shared, &user, usage).await);
    }
    told.extend(revoked.iter().flat_map(|revoked| revoked.told.clone()));
    Outcome {
        place: arrangement.place,
        counts,
        rotated,
        revoked,
        seconds,
        told,
        verified,
    }
}

async fn rotate(world: &World, order: Order, signed: &Signed, between: Duration) -> Rotated {
    let began = Instant::now();
    let before = operator::list(world).await;
    let ordered = Instant::now();
    operator::rotate(world, order).await;
    let mut made = operator::list(world).await;
    made.retain(|key| before.iter().all(|old| old.kid != key.kid));
    let is_what_was_asked_for =
        |key: &operator::Key| key.usage == order.usage && key.algorithm == order.algorithm;
    let key = made
        .iter()
        .find(|key| is_what_was_asked_for(key))
        .unwrap_or_else(|| panic!("{order:?} made {made:?}"));
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
        made: made.len(),
        signed_after: (since.unwrap() - ordered).as_secs_f32(),
    }
}
