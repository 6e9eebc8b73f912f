//! Oracle: permitted answers, derived from the order of events and the final row.

use latchkey_testkit::{BLACKLISTED, VERIFY_BLACKLISTED};
use std::collections::BTreeMap;

use latchkey_domain::session::{RevokedReason, Session};

use super::{
    plan::Command,
    play::{Event, Record},
};

/// Row of a session and session epoch of its user, after the round.
pub struct Outcome {
    pub row: Session,
    pub session_epoch: u32,
    /// Generation at the end of the round.
    pub generation: u32,
}

impl Outcome {
    pub fn dead(&self) -> bool {
        self.row.revoked.is_some() || self.session_epoch != self.row.session_epoch
    }
}

/// Returns a description of each violation.
pub fn judge(record: &Record, outcome: &Outcome) -> Vec<String> {
    let mut wrong = answers(record, outcome);
    wrong.extend(order(record));
    wrong.extend(row(record, outcome));
    wrong.extend(record.judge_places(outcome));
    wrong
}

impl Event {
    fn status(&self) -> Option<u16> {
        self.answer.as_ref().map(|(_, answer)| answer.status)
    }

    fn ended(&self) -> Option<u64> {
        self.answer.as_ref().map(|(ended, _)| *ended)
    }

    /// True if the answer reports that the session is revoked.
    fn reports_revocation(&self) -> bool {
        match self.what {
            Command::LogOut { .. } | Command::RevokeAll => self.answer.is_some(),
            Command::Refresh { .. } => self.status() == Some(401),
            Command::VerifyAccess | Command::VerifyRefresh { .. } => false,
        }
    }

    /// True if the answer confirms that the revocation and its entry were written.
    pub fn confirms_revocation(&self) -> bool {
        matches!(self.what, Command::LogOut { .. } | Command::RevokeAll)
            && self.status() == Some(200)
    }
}

/// Checks each answer individually.
fn answers(record: &Record, outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut successors: BTreeMap<u32, String> = BTreeMap::new();
    for event in &record.events {
        let Some((_, answer)) = &event.answer else {
            continue;
        };
        let fits = match (event.what, answer.status, answer.text.as_str()) {
            (Command::Refresh { generation, .. }, 200, _) => {
                let given = answer.pair().refresh;
                let next = u32::try_from(claims(&given)["gen"].as_u64().unwrap()).unwrap();
                let first = successors.entry(next).or_insert_with(|| given.clone());
                next == generation + 1 && next <= outcome.generation && *first == given
            }
            (Command::Refresh { .. } | Command::LogOut { .. }, 401, BLACKLISTED)
            | (Command::LogOut { .. }, 200, "{}")
            | (Command::VerifyAccess, 400, VERIFY_BLACKLISTED) => outcome.dead(),
            (Command::RevokeAll, 200, _) => outcome.session_epoch > outcome.row.session_epoch,
            (Command::VerifyAccess, 200, "{}") => true,
            (Command::VerifyRefresh { generation }, 200, "{}") => {
                generation >= record.plan.generation
            }
            (Command::VerifyRefresh { generation }, 400, VERIFY_BLACKLISTED) => {
                outcome.dead() || outcome.generation > generation
            }
            _ => false,
        };
        if !fits {
            wrong.push(format!("impossible answer: {event:?}"));
        }
    }
    wrong
}

/// Checks that no request succeeds after a reported revocation.
fn order(record: &Record) -> Vec<String> {
    let first = |matches: fn(&Event) -> bool| {
        record
            .events
            .iter()
            .filter(|event| matches(event))
            .filter_map(Event::ended)
            .min()
            .unwrap_or(u64::MAX)
    };
    let (reported, confirmed) = (
        first(Event::reports_revocation),
        first(Event::confirms_revocation),
    );
    let late = |event: &&Event| {
        event.status() == Some(200)
            && match event.what {
                Command::Refresh { .. } => event.started > reported,
                Command::VerifyAccess | Command::VerifyRefresh { .. } => event.started > confirmed,
                Command::LogOut { .. } | Command::RevokeAll => false,
            }
    };
    record
        .events
        .iter()
        .filter(late)
        .map(|event| format!("success after the revocation: {event:?}"))
        .collect()
}

/// Checks the row against the events.
fn row(record: &Record, outcome: &Outcome) -> Vec<String> {
    let (before, after) = (record.plan.generation, outcome.generation);
    let was_spent =
        |generation| generation + 1 < before || generation + 1 == before && record.plan.window_over;
    let presented = |event: &Event| match event.what {
        Command::Refresh { generation, .. } | Command::LogOut { generation } => Some(generation),
        _ => None,
    };
    let any = |of: &dyn Fn(&Event) -> bool| record.events.iter().any(of);
    let log_out = any(&|event| matches!(event.what, Command::LogOut { .. }));
    let revoke_all = any(&|event| event.what == Command::RevokeAll);
    let reuse = any(&|event| {
        // A request of a disconnected client may end after all others.
        let newest = if event.answer.is_some() {
            after
        } else {
            outcome.row.generation
        };
        presented(event).is_some_and(|old| was_spent(old) || old + 1 < newest)
    });
    let surely_reuse =
        any(&|event| event.answer.is_some() && presented(event).is_some_and(was_spent));
    let newest = record.newest().map_or(before, |(generation, _)| generation);
    let crashed =
        any(&|event| matches!(event.what, Command::Refresh { .. }) && event.answer.is_none());
    let reason = outcome.row.revoked.map(|(_, reason)| reason);
    let checks = [
        (
            reason != Some(RevokedReason::LoggedOut) || log_out,
            "logged out without a log-out",
        ),
        (
            reason != Some(RevokedReason::Reuse) || reuse || record.reuse_by_place(),
            "revoked for reuse without reuse",
        ),
        (
            reason != Some(RevokedReason::Operator),
            "revoked by an operator without a command",
        ),
        (
            outcome.session_epoch == outcome.row.session_epoch || revoke_all,
            "session epoch raised without a command",
        ),
        (!surely_reuse || outcome.dead(), "live after a reuse"),
        (
            if crashed {
                after >= newest
            } else {
                after == newest
            },
            "the generation differs from the newest returned token",
        ),
    ];
    checks
        .iter()
        .filter(|(holds, _)| !holds)
        .map(|(_, what)| format!("{what}: {:?}", outcome.row))
        .collect()
}

impl Record {
    /// Newest returned refresh token, and its generation.
    pub fn newest(&self) -> Option<(u32, String)> {
        let given = self
            .events
            .iter()
            .filter(|event| event.status() == Some(200))
            .filter_map(|event| match event.what {
                Command::Refresh { generation, .. } => Some((
                    generation + 1,
                    event.answer.as_ref().unwrap().1.pair().refresh,
                )),
                _ => None,
            });
        given.max()
    }
}

fn claims(token: &str) -> serde_json::Value {
    latchkey_testkit::Forge::claims_of(token)
}
