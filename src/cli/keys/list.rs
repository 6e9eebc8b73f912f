//! `latchkey keys list`: each key, what it does, and what it is waiting for.

use std::sync::Arc;

use chrono::TimeDelta;
use latchkey_verifier::Kind;
use serde_json::json;

use super::RingArgs;
use crate::{
    app::keys,
    cli::{Failure, output},
    crypto::keyring::{Keyring, RingKey},
    domain::{
        keys::{KeyState, later},
        time::Moment,
    },
    ports::{Clock, RevokedKey},
    service::keys::{KeyManager, KeyRules, KeysError, Opened},
};

/// A line of the list.
struct Line<'a> {
    facts: &'a crate::domain::keys::KeyFacts,
    state: &'static str,
    until: Option<Moment>,
    encrypted: Option<bool>,
    words: String,
}

pub(super) async fn run(ring: &RingArgs, as_json: bool, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let manager = keys::reader(ring.settings(), Arc::clone(&clock)).await?;
    let opened = manager.open(&Keyring::default()).await.map_err(Failure::from)?;
    if !opened.wrong.is_empty() {
        return Err(KeysError::Broken(manager.store.setting(), opened.wrong).into());
    }
    let lines = lines(&opened, &manager.rules, clock.now());
    if as_json {
        let all: Vec<_> = lines.iter().map(Line::json).collect();
        output::json(&json!(all));
        return Ok(());
    }
    let rows: Vec<_> = lines.iter().map(Line::row).collect();
    let none = "there are no keys yet: `latchkey serve` makes them";
    output::table(&["KID", "USE", "ALGORITHM", "STATE", ""], &rows, none);
    Ok(())
}

fn lines<'a>(opened: &'a Opened, rules: &KeyRules, now: Moment) -> Vec<Line<'a>> {
    let encrypted = KeyManager::encrypted(&opened.records);
    let live = opened.ring.states(now, rules.lives).map(|(key, state)| Line {
        facts: &key.facts,
        state: state.as_str(),
        until: state.until(),
        encrypted: Some(encrypted.contains(&key.facts.kid.as_str())),
        words: words(&opened.ring, key, state, rules, now),
    });
    let dead = opened.records.revoked.iter().map(|RevokedKey { facts, at }| Line {
        facts,
        state: "revoked",
        until: None,
        encrypted: None,
        words: format!("since {}: its tokens are refused for ever", at.format("%F %T UTC")),
    });
    live.chain(dead).collect()
}

fn words(ring: &Keyring, key: &RingKey, state: KeyState, rules: &KeyRules, now: Moment) -> String {
    let set = match key.facts.kind {
        Kind::Access => "every verifier that caches the key set",
        Kind::Refresh => "every instance",
    };
    match state {
        KeyState::Published(from) => format!("signs from {}, when {set} has seen it", moment(from, now)),
        KeyState::Signing(Some(until)) => format!("until its successor does, from {}", moment(until, now)),
        KeyState::Signing(None) => match rules.interval {
            Some(interval) if ring.newest(key.facts.kind).is_some_and(|newest| newest.facts == key.facts) => {
                let due = later(key.facts.signs_from, interval - rules.lead);
                format!("its successor is made {}", moment(due.max(now), now))
            }
            _ => "until you make its successor".to_owned(),
        },
        KeyState::Verifying(until) => format!("until {}, when its last token has expired", moment(until, now)),
        KeyState::Prunable => "its tokens have expired: latchkey keys prune removes it".to_owned(),
    }
}

/// `2026-01-31 12:00:00 UTC (in 14m 3s)`.
fn moment(moment: Moment, now: Moment) -> String {
    let left = (moment - now).max(TimeDelta::zero());
    let seconds = u64::try_from(left.num_seconds()).unwrap_or_default();
    let left = humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string();
    // Two units are enough for people.
    let left = left.split(' ').take(2).collect::<Vec<_>>().join(" ");
    format!("{} (in {left})", moment.format("%F %T UTC"))
}

impl Line<'_> {
    fn row(&self) -> Vec<String> {
        let facts = self.facts;
        let usage = facts.kind.token_type().to_owned();
        vec![facts.kid.clone(), usage, facts.algorithm.to_string(), self.state.to_owned(), self.words.clone()]
    }

    fn json(&self) -> serde_json::Value {
        let facts = self.facts;
        json!({
            "kid": facts.kid,
            "use": facts.kind.token_type(),
            "algorithm": facts.algorithm.name(),
            "signs_from": facts.signs_from.to_rfc3339(),
            "state": self.state,
            "until": self.until.map(|until| until.to_rfc3339()),
            "encrypted": self.encrypted,
            "waits_for": self.words,
        })
    }
}
