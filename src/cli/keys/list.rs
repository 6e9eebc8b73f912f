//! `latchkey keys list`: signing keys, their state and their next change.

use std::{process::ExitCode, sync::Arc};

use chrono::TimeDelta;
use latchkey_verifier::Kind;
use serde_json::json;

use super::RingArgs;
use crate::{
    app::keys,
    cli::{Failure, output},
};
use latchkey_crypto::key_ring::KeyRing;
use latchkey_domain::{
    keys::{KeyMetadata, KeyState, saturating_add, state},
    ports::{Clock, KeyRecords, RevokedKey},
    time::Moment,
};
use latchkey_service::keys::{KeyManager, KeyRules};

/// Line of the list.
struct KeyRow<'a> {
    facts: &'a KeyMetadata,
    state: &'static str,
    until: Option<Moment>,
    encrypted: Option<bool>,
    description: String,
}

/// Prints all keys that can be read, and then the errors of the others. The exit code is 2 if there
/// are errors.
pub(super) async fn run(
    ring: &RingArgs,
    as_json: bool,
    clock: Arc<dyn Clock>,
) -> Result<ExitCode, Failure> {
    let manager = keys::reader(&ring.settings(), Arc::clone(&clock))?;
    let opened = manager.open(&KeyRing::default()).await?;
    let lines = lines(&opened.records, &manager.rules, clock.now());
    if as_json {
        let all: Vec<_> = lines.iter().map(KeyRow::json).collect();
        output::json(&json!(all));
    } else if !lines.is_empty() || opened.wrong.is_empty() {
        let rows: Vec<_> = lines.iter().map(KeyRow::row).collect();
        let none = "there are no keys yet: `latchkey serve` creates them";
        output::table(&["KID", "USE", "ALGORITHM", "STATE", ""], &rows, none);
    }
    for line in &opened.wrong {
        output::error(line);
    }
    Ok(if opened.wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    })
}

fn lines<'a>(records: &'a KeyRecords, rules: &KeyRules, now: Moment) -> Vec<KeyRow<'a>> {
    let encrypted = KeyManager::encrypted(records);
    let without_successor = KeyManager::successor_by_hand(records);
    let lives = records.lives.longest(rules.lives);
    let mut lines = Vec::new();
    for kind in [Kind::Access, Kind::Refresh] {
        let ring: Vec<_> = records
            .keys
            .iter()
            .map(|key| &key.facts)
            .filter(|facts| facts.kind == kind)
            .collect();
        let starts: Vec<Moment> = ring.iter().map(|facts| facts.signs_from).collect();
        for (index, facts) in ring.into_iter().enumerate() {
            let is_rotated =
                index + 1 == starts.len() && !without_successor.contains(&facts.kid.as_str());
            let state = state(&starts, index, now, lives.of(kind));
            lines.push(KeyRow {
                facts,
                state: state.as_str(),
                until: state.until(),
                encrypted: Some(encrypted.contains(&facts.kid.as_str())),
                description: description(facts, state, is_rotated, rules, now),
            });
        }
    }
    let bare = |facts, state, description| KeyRow {
        facts,
        state,
        until: None,
        encrypted: None,
        description,
    };
    lines.extend(
        records
            .unreadable
            .iter()
            .map(|facts| bare(facts, "unreadable", String::new())),
    );
    lines.extend(records.revoked.iter().map(|RevokedKey { facts, at }| {
        bare(
            facts,
            "revoked",
            format!(
                "since {}: its tokens are refused for ever",
                at.format("%F %T UTC")
            ),
        )
    }));
    lines
}

fn description(
    facts: &KeyMetadata,
    state: KeyState,
    is_rotated: bool,
    rules: &KeyRules,
    now: Moment,
) -> String {
    let readers = match facts.kind {
        Kind::Access => "every verifier has fetched it",
        Kind::Refresh => "every instance has read it",
    };
    match state {
        KeyState::Published(from) => {
            format!("signs from {}, when {readers}", moment(from, now))
        }
        KeyState::Signing(Some(until)) => {
            format!("until its successor takes over at {}", moment(until, now))
        }
        KeyState::Signing(None) => match rules.interval {
            Some(interval) if is_rotated => {
                let due = saturating_add(facts.signs_from, interval - rules.lead);
                format!("its successor is created at {}", moment(due.max(now), now))
            }
            _ => "until an operator rotates it".to_owned(),
        },
        KeyState::Verifying(until) => {
            format!("until {}, when its last token expires", moment(until, now))
        }
        KeyState::Prunable => "its tokens have expired: latchkey keys prune removes it".to_owned(),
    }
}

/// Formats a time as `2026-01-31 12:00:00 UTC (in 14m 3s)`.
fn moment(moment: Moment, now: Moment) -> String {
    let left = (moment - now).max(TimeDelta::zero());
    let seconds = u64::try_from(left.num_seconds()).unwrap_or_default();
    let left = humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string();
    // Two units suffice for people.
    let left = left.split(' ').take(2).collect::<Vec<_>>().join(" ");
    format!("{} (in {left})", moment.format("%F %T UTC"))
}

impl KeyRow<'_> {
    fn row(&self) -> Vec<String> {
        let facts = self.facts;
        let usage = facts.kind.token_type().to_owned();
        vec![
            facts.kid.clone(),
            usage,
            facts.algorithm.to_string(),
            self.state.to_owned(),
            self.description.clone(),
        ]
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
            "waits_for": self.description,
        })
    }
}
