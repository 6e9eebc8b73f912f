//! Revocation of a signing key: the time until every instance refuses its tokens, and later
//! acceptances.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    load::{Shared, beat, obtained},
    rotations::{feed::kid, operator},
    wire::Answer,
    world::{INSTANCES, World},
};
use latchkey_testkit::Pair;

/// Sessions whose tokens the key signed before its revocation.
const SESSIONS: usize = 6;
/// Documented maximum time until every instance refuses the tokens.
const MAX_DELAY: Duration = Duration::from_secs(5);
/// Time without an acceptance after which an instance has the revocation. It is longer than the
/// interval at which an instance reads the key ring.
const SETTLE_TIME: Duration = Duration::from_millis(1_500);
/// Time of further requests after the last instance refuses the tokens.
const TIME_AFTER: Duration = Duration::from_secs(4);

/// Outcome of a revocation.
pub struct Revoked {
    pub usage: &'static str,
    /// Seconds from the command to the last acceptance of such a token, for each instance.
    pub last_accepted: [f32; INSTANCES],
    /// Duration of the command, in seconds.
    pub command: f32,
    /// Number of tokens of the key, including those signed during the revocation.
    pub tokens: usize,
    /// Number of requests with these tokens after all instances have the revocation.
    pub requests: u64,
    /// Number of those requests that were accepted.
    pub accepted: u64,
    /// Violations in words.
    pub reports: Vec<String>,
}

impl Revoked {
    /// Returns the longest time to the last acceptance, in seconds.
    pub fn worst(&self) -> f32 {
        self.last_accepted.iter().copied().fold(0.0, f32::max)
    }

    pub fn failed(&self) -> bool {
        !self.reports.is_empty() || self.accepted > 0 || self.worst() >= MAX_DELAY.as_secs_f32()
    }
}

/// Revokes the key that signs tokens of this kind.
pub async fn revoke(
    world: &World,
    shared: &Arc<Shared>,
    user: &str,
    usage: &'static str,
) -> Revoked {
    let mut reports = Vec::new();
    let keys = operator::list(world).await;
    let signing = keys
        .iter()
        .find(|key| key.usage == usage && key.state == "signing")
        .expect("a signing key exists");
    let mut pairs = Vec::new();
    for number in 0..SESSIONS {
        pairs.push(obtained(shared, user, number).await);
    }
    let of_key = |pair: &Pair| kid(token(pair, usage)) == signing.kid;
    assert!(
        pairs.iter().all(of_key),
        "the signing key has signed the tokens"
    );

    let began = Instant::now();
    let done = Arc::new(AtomicBool::new(false));
    let check = |instance| {
        tokio::spawn(last_accepted(
            Arc::clone(shared),
            instance,
            pairs.clone(),
            usage,
            began,
        ))
    };
    let checkers: Vec<_> = (0..INSTANCES).map(check).collect();
    let signing_in = tokio::spawn(sign_in(
        Arc::clone(shared),
        user.to_owned(),
        Arc::clone(&done),
    ));
    operator::revoke(world, &signing.kid).await;
    let command = began.elapsed().as_secs_f32();
    let mut last_accepted = [0.0; INSTANCES];
    for (last, checker) in last_accepted.iter_mut().zip(checkers) {
        *last = checker.await.expect("a checker ends without a panic");
    }
    done.store(true, Ordering::SeqCst);
    // Instances without the revocation continued to sign with the key. Those tokens are revoked,
    // too.
    pairs.extend(
        signing_in
            .await
            .expect("a client ends without a panic")
            .into_iter()
            .filter(of_key),
    );
    let (requests, accepted) = afterwards(shared, &pairs, usage).await;

    let after = obtained(shared, user, 0).await;
    if kid(token(&after, usage)) == signing.kid {
        reports.push(format!(
            "the revoked {usage} key {} still signs",
            signing.kid
        ));
    }
    for instance in 0..INSTANCES {
        for token in [&after.access, &after.refresh] {
            let answer = shared.wire.verify(instance, token).await;
            if !answer.ok() {
                reports.push(format!(
                    "a new token after the revocation: {}",
                    answer.summary()
                ));
            }
        }
    }
    Revoked {
        usage,
        last_accepted,
        command,
        tokens: pairs.len(),
        requests,
        accepted,
        reports,
    }
}

/// Returns the seconds to the last acceptance of a token by this instance. Ends after
/// [`SETTLE_TIME`] without one.
async fn last_accepted(
    shared: Arc<Shared>,
    instance: usize,
    pairs: Vec<Pair>,
    usage: &'static str,
    began: Instant,
) -> f32 {
    let mut beats = beat(Duration::from_millis(50));
    let mut last = began;
    for pair in pairs.iter().cycle() {
        beats.tick().await;
        if shared.wire.verify(instance, token(pair, usage)).await.ok() {
            last = Instant::now();
        }
        let over = began.elapsed() > 3 * MAX_DELAY;
        if over || (last > began && last.elapsed() > SETTLE_TIME) {
            break;
        }
    }
    (last - began).as_secs_f32()
}

async fn sign_in(shared: Arc<Shared>, user: String, done: Arc<AtomicBool>) -> Vec<Pair> {
    let (mut beats, mut pairs) = (beat(Duration::from_millis(500)), Vec::new());
    while !done.load(Ordering::SeqCst) {
        beats.tick().await;
        pairs.push(obtained(&shared, &user, pairs.len()).await);
    }
    pairs
}

/// Repeats every use of every token on every instance. Returns the number of requests and of
/// acceptances.
async fn afterwards(shared: &Shared, pairs: &[Pair], usage: &'static str) -> (u64, u64) {
    let (end, wire) = (Instant::now() + TIME_AFTER, &shared.wire);
    let (mut requests, mut accepted) = (0, 0);
    let mut count = |answer: Answer| {
        requests += 1;
        accepted += u64::from(answer.ok());
    };
    let mut seen = BTreeSet::new();
    while Instant::now() < end || seen.len() < pairs.len() {
        for (number, pair) in pairs.iter().enumerate() {
            for instance in 0..INSTANCES {
                count(wire.verify(instance, token(pair, usage)).await);
                if usage == "access" {
                    count(wire.user(instance, &pair.access).await);
                } else {
                    count(wire.refresh(instance, &pair.refresh).await);
                    count(wire.blacklist(instance, &pair.refresh).await);
                }
            }
            seen.insert(number);
        }
    }
    (requests, accepted)
}

fn token<'a>(pair: &'a Pair, usage: &str) -> &'a str {
    if usage == "access" {
        &pair.access
    } else {
        &pair.refresh
    }
}
