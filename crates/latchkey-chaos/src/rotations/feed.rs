//! Feeders: clients that refresh on all instances in turns, and send each new access token and an
//! older one to the verifiers.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::{
    load::{Shared, beat, obtained},
    rotations::offline::Offline,
    tally::{Operation, Outcome, Violation},
};
use latchkey_testkit::Pair;

/// Interval between the refreshes of a feeder.
const REFRESH_INTERVAL: Duration = Duration::from_millis(60);

/// Maximum age of a token that is sent. Access tokens expire after five minutes by default.
const MAX_AGE: Duration = Duration::from_secs(280);

/// The first token seen of a key, and the time of its receipt.
struct First {
    at: Instant,
    token: String,
}

/// Keys that have signed, by `kid`.
#[derive(Default)]
pub struct Signed(Mutex<BTreeMap<String, First>>);

impl Signed {
    /// Returns the time at which a token of this key was first received.
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

    /// Returns the first access token of one of the keys, in turns.
    fn older(&self, number: usize) -> Option<String> {
        let signed = self.0.lock().unwrap();
        let young: Vec<_> = signed
            .values()
            .filter(|first| first.at.elapsed() < MAX_AGE && is_access(&first.token))
            .collect();
        Some(young.get(number % young.len().max(1))?.token.clone())
    }
}

/// Runs until the load stops. Returns the tokens of its last session.
pub async fn feed(
    shared: Arc<Shared>,
    name: String,
    offline: Offline,
    signed: Arc<Signed>,
) -> Pair {
    let count = shared.wire.instances();
    let mut beats = beat(REFRESH_INTERVAL);
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
            // The refusal is counted, and a new session replaces the refused one.
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

/// Returns the `kid` of a token.
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
