//! Those who refresh all the time, everywhere in turn, and hand each new access token to the verifiers, with an older one beside it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::{
    load::{Shared, beat, obtained},
    offline::Offline,
    tally::{Operation, Outcome, Violation},
    wire::Pair,
};

/// How often each of them refreshes.
const OFTEN: Duration = Duration::from_millis(60);

/// Nobody asks about a token that is older: by default it lives for five minutes.
const YOUNG: Duration = Duration::from_secs(280);

/// When a key was first seen to sign, and a token that it signed then.
struct First {
    at: Instant,
    token: String,
}

/// The keys that have signed, by `kid`.
#[derive(Default)]
pub struct Signed(Mutex<BTreeMap<String, First>>);

impl Signed {
    /// When this key was first seen to sign.
    pub fn since(&self, kid: &str) -> Option<Instant> {
        self.0.lock().unwrap().get(kid).map(|first| first.at)
    }

    fn note(&self, token: &str) {
        let first = || First {
            at: Instant::now(),
            token: token.to_owned(),
        };
        self.0
            .lock()
            .unwrap()
            .entry(kid(token))
            .or_insert_with(first);
    }

    /// An access token of one of the older keys, in turns.
    fn older(&self, number: usize) -> Option<String> {
        let signed = self.0.lock().unwrap();
        let young: Vec<_> = signed
            .values()
            .filter(|first| first.at.elapsed() < YOUNG && is_access(&first.token))
            .collect();
        Some(young.get(number % young.len().max(1))?.token.clone())
    }
}

/// Goes on until it is told to stop; gives the session that it then has.
pub async fn feed(
    shared: Arc<Shared>,
    name: String,
    offline: Offline,
    signed: Arc<Signed>,
) -> Pair {
    let count = shared.wire.instances();
    let mut beats = beat(OFTEN);
    let mut pair = obtained(&shared, &name, 0).await;
    for number in 0.. {
        if shared.stopped() {
            break;
        }
        beats.tick().await;
        let answer = shared.wire.refresh(number % count, &pair.refresh).await;
        shared.must_be_accepted(
            Operation::Refresh,
            &answer,
            Violation::Refused,
            "the newest refresh token",
        );
        pair = match answer.outcome {
            Outcome::Answered => answer.pair().unwrap(),
            // The session goes on elsewhere; what was refused is counted.
            Outcome::Refused => obtained(&shared, &name, number).await,
            Outcome::Unavailable | Outcome::Broken => continue,
        };
        signed.note(&pair.access);
        signed.note(&pair.refresh);
        offline.check(&pair.access).await;
        if let Some(older) = signed.older(number) {
            offline.check(&older).await;
            let answer = shared.wire.verify((number + 1) % count, &older).await;
            shared.must_be_accepted(
                Operation::Verify,
                &answer,
                Violation::Refused,
                "an older key's token",
            );
        }
    }
    pair
}

/// The name of the key that signed this token.
pub fn kid(token: &str) -> String {
    header(token)["kid"].as_str().unwrap().to_owned()
}

fn is_access(token: &str) -> bool {
    header(token)["typ"] == "at+jwt"
}

fn header(token: &str) -> Value {
    let text = BASE64_URL_SAFE_NO_PAD
        .decode(token.split('.').next().unwrap())
        .unwrap();
    serde_json::from_slice(&text).unwrap()
}
