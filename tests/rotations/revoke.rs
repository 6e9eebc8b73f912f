//! The end of a key that signs: when does the last instance refuse its tokens, and does one come through later?

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    feed::kid,
    load::{Shared, beat, obtained},
    operator,
    wire::{Answer, Pair},
    world::{INSTANCES, World},
};

/// Sessions whose tokens the key has signed before.
const SESSIONS: usize = 6;
/// Promised.
const LIMIT: Duration = Duration::from_secs(5);
/// Longer than from one look of an instance at the ring to the next: who has refused for so long does not change its mind.
const SETTLED: Duration = Duration::from_millis(1_500);
/// How long the dead tokens are asked about when the last instance refuses them.
const AFTERWARDS: Duration = Duration::from_secs(4);

/// What a revocation came to.
pub struct Revoked {
    pub usage: &'static str,
    /// From the command to the last answer in which an instance took such a token, in seconds, for each instance.
    pub last_passed: [f32; INSTANCES],
    /// How long the command took.
    pub command: f32,
    /// Tokens of the key, those included that were signed while it was revoked.
    pub tokens: usize,
    /// Questions about them when all instances should know.
    pub asked: u64,
    /// How many of those passed.
    pub passed: u64,
    /// What was wrong, in words.
    pub told: Vec<String>,
}

impl Revoked {
    /// In seconds.
    pub fn worst(&self) -> f32 {
        self.last_passed.iter().copied().fold(0.0, f32::max)
    }

    pub fn failed(&self) -> bool {
        !self.told.is_empty() || self.passed > 0 || self.worst() >= LIMIT.as_secs_f32()
    }
}

/// Revokes the key that signs tokens of this kind.
pub async fn revoke(
    world: &World,
    shared: &Arc<Shared>,
    user: &str,
    usage: &'static str,
) -> Revoked {
    let mut told = Vec::new();
    let keys = operator::list(world).await;
    let signing = keys
        .iter()
        .find(|key| key.usage == usage && key.state == "signing")
        .expect("a key that signs");
    let mut pairs = Vec::new();
    for number in 0..SESSIONS {
        pairs.push(obtained(shared, user, number).await);
    }
    let of_key = |pair: &Pair| kid(token(pair, usage)) == signing.kid;
    assert!(pairs.iter().all(of_key), "the key that signs has signed");

    let began = Instant::now();
    let done = Arc::new(AtomicBool::new(false));
    let ask = |instance| {
        tokio::spawn(last_passed(
            Arc::clone(shared),
            instance,
            pairs.clone(),
            usage,
            began,
        ))
    };
    let asking: Vec<_> = (0..INSTANCES).map(ask).collect();
    let signing_in = tokio::spawn(sign_in(
        Arc::clone(shared),
        user.to_owned(),
        Arc::clone(&done),
    ));
    operator::revoke(world, &signing.kid).await;
    let command = began.elapsed().as_secs_f32();
    let mut last_passed = [0.0; INSTANCES];
    for (last, asked) in last_passed.iter_mut().zip(asking) {
        *last = asked.await.expect("who asks has ended well");
    }
    done.store(true, Ordering::SeqCst);
    // Instances that had not noticed yet went on signing with it: those tokens are as dead.
    pairs.extend(
        signing_in
            .await
            .expect("who signs in has ended well")
            .into_iter()
            .filter(of_key),
    );
    let (asked, passed) = afterwards(shared, &pairs, usage).await;

    let after = obtained(shared, user, 0).await;
    if kid(token(&after, usage)) == signing.kid {
        told.push(format!(
            "the revoked {usage} key {} still signs",
            signing.kid
        ));
    }
    for instance in 0..INSTANCES {
        for token in [&after.access, &after.refresh] {
            let answer = shared.wire.verify(instance, token).await;
            if !answer.ok() {
                told.push(format!(
                    "after the revocation, a new token: {}",
                    answer.told()
                ));
            }
        }
    }
    Revoked {
        usage,
        last_passed,
        command,
        tokens: pairs.len(),
        asked,
        passed,
        told,
    }
}

/// When this instance last took one of the tokens: until it has refused all of them for so long that it knows.
async fn last_passed(
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
        let over = began.elapsed() > 3 * LIMIT;
        if over || (last > began && last.elapsed() > SETTLED) {
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

/// Every use of every token on every instance, again and again. How many were asked, and how many passed.
async fn afterwards(shared: &Shared, pairs: &[Pair], usage: &'static str) -> (u64, u64) {
    let (end, wire) = (Instant::now() + AFTERWARDS, &shared.wire);
    let (mut asked, mut passed) = (0, 0);
    let mut count = |answer: Answer| {
        asked += 1;
        passed += u64::from(answer.ok());
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
    (asked, passed)
}

fn token<'a>(pair: &'a Pair, usage: &str) -> &'a str {
    if usage == "access" {
        &pair.access
    } else {
        &pair.refresh
    }
}
