//! What may have been answered, told by the order of what happened and the row that it left.

use std::collections::BTreeMap;

use latchkey::domain::session::{RevokedReason, Session};

use super::{
    plan::What,
    play::{Event, Record},
};

const BLACKLISTED: &str = r#"{"detail":"Token is blacklisted","code":"token_not_valid"}"#;
const NOT_VALID: &str = r#"{"non_field_errors":["Token is blacklisted"]}"#;

/// A session's row and its user's version, read at the end of all.
pub struct Left {
    pub row: Session,
    pub version: u32,
    /// The generation when the round was just over.
    pub generation: u32,
}

impl Left {
    pub fn dead(&self) -> bool {
        self.row.revoked.is_some() || self.version != self.row.session_epoch
    }
}

/// Every broken promise, in words. None is what there should be.
pub fn judge(record: &Record, left: &Left) -> Vec<String> {
    let mut wrong = answers(record, left);
    wrong.extend(order(record));
    wrong.extend(row(record, left));
    wrong.extend(record.judge_places(left));
    wrong
}

impl Event {
    fn status(&self) -> Option<u16> {
        self.answer.as_ref().map(|(_, answer)| answer.status)
    }

    fn ended(&self) -> Option<u64> {
        self.answer.as_ref().map(|(ended, _)| *ended)
    }

    /// Whether its answer says that the session is dead.
    fn tells_the_end(&self) -> bool {
        match self.what {
            What::LogOut { .. } | What::CutOff => self.answer.is_some(),
            What::Refresh { .. } => self.status() == Some(401),
            What::VerifyAccess | What::VerifyRefresh { .. } => false,
        }
    }

    /// Whether it is answered by somebody who has just written the end, and its mark.
    pub fn ends(&self) -> bool {
        matches!(self.what, What::LogOut { .. } | What::CutOff) && self.status() == Some(200)
    }
}

/// Each answer by itself.
fn answers(record: &Record, left: &Left) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut successors: BTreeMap<u32, String> = BTreeMap::new();
    for event in &record.events {
        let Some((_, answer)) = &event.answer else {
            continue;
        };
        let fits = match (event.what, answer.status, answer.text.as_str()) {
            (What::Refresh { generation, .. }, 200, _) => {
                let given = answer.pair().refresh;
                let next = u32::try_from(claims(&given)["gen"].as_u64().unwrap()).unwrap();
                let first = successors.entry(next).or_insert_with(|| given.clone());
                next == generation + 1 && next <= left.generation && *first == given
            }
            (What::Refresh { .. } | What::LogOut { .. }, 401, BLACKLISTED)
            | (What::LogOut { .. }, 200, "{}")
            | (What::VerifyAccess, 400, NOT_VALID) => left.dead(),
            (What::CutOff, 200, _) => left.version > left.row.session_epoch,
            (What::VerifyAccess, 200, "{}") => true,
            (What::VerifyRefresh { generation }, 200, "{}") => generation >= record.plan.generation,
            (What::VerifyRefresh { generation }, 400, NOT_VALID) => {
                left.dead() || left.generation > generation
            }
            _ => false,
        };
        if !fits {
            wrong.push(format!("an answer that cannot be: {event:?}"));
        }
    }
    wrong
}

/// Nothing that began after the end was told succeeds.
fn order(record: &Record) -> Vec<String> {
    let first = |told: fn(&Event) -> bool| {
        record
            .events
            .iter()
            .filter(|event| told(event))
            .filter_map(Event::ended)
            .min()
            .unwrap_or(u64::MAX)
    };
    let (told, marked) = (first(Event::tells_the_end), first(Event::ends));
    let late = |event: &&Event| {
        event.status() == Some(200)
            && match event.what {
                What::Refresh { .. } => event.begun > told,
                What::VerifyAccess | What::VerifyRefresh { .. } => event.begun > marked,
                What::LogOut { .. } | What::CutOff => false,
            }
    };
    record
        .events
        .iter()
        .filter(late)
        .map(|event| format!("it succeeded after the end: {event:?}"))
        .collect()
}

/// The row says what happened, and nothing that did not.
fn row(record: &Record, left: &Left) -> Vec<String> {
    let (before, after) = (record.plan.generation, left.generation);
    let was_spent =
        |generation| generation + 1 < before || generation + 1 == before && record.plan.window_over;
    let presented = |event: &Event| match event.what {
        What::Refresh { generation, .. } | What::LogOut { generation } => Some(generation),
        _ => None,
    };
    let any = |of: &dyn Fn(&Event) -> bool| record.events.iter().any(of);
    let log_out = any(&|event| matches!(event.what, What::LogOut { .. }));
    let cut_off = any(&|event| event.what == What::CutOff);
    let reuse = any(&|event| {
        // What goes on without its client may come after everything else.
        let newest = if event.answer.is_some() {
            after
        } else {
            left.row.generation
        };
        presented(event).is_some_and(|old| was_spent(old) || old + 1 < newest)
    });
    let surely_reuse =
        any(&|event| event.answer.is_some() && presented(event).is_some_and(was_spent));
    let newest = record.newest().map_or(before, |(generation, _)| generation);
    let crashed =
        any(&|event| matches!(event.what, What::Refresh { .. }) && event.answer.is_none());
    let reason = left.row.revoked.map(|(_, reason)| reason);
    let promises = [
        (
            reason != Some(RevokedReason::LoggedOut) || log_out,
            "logged out by nobody",
        ),
        (
            reason != Some(RevokedReason::Reuse) || reuse || record.reuse_by_place(),
            "revoked for a reuse that was none",
        ),
        (reason != Some(RevokedReason::Operator), "revoked by nobody"),
        (
            left.version == left.row.session_epoch || cut_off,
            "cut off by nobody",
        ),
        (!surely_reuse || left.dead(), "it outlived a reuse"),
        (
            if crashed {
                after >= newest
            } else {
                after == newest
            },
            "it was not at the newest generation given",
        ),
    ];
    promises
        .iter()
        .filter(|(holds, _)| !holds)
        .map(|(_, what)| format!("{what}: {:?}", left.row))
        .collect()
}

impl Record {
    /// The newest refresh token that anybody was given, and its generation.
    pub fn newest(&self) -> Option<(u32, String)> {
        let given = self
            .events
            .iter()
            .filter(|event| event.status() == Some(200))
            .filter_map(|event| match event.what {
                What::Refresh { generation, .. } => Some((
                    generation + 1,
                    event.answer.as_ref().unwrap().1.pair().refresh,
                )),
                _ => None,
            });
        given.max()
    }
}

fn claims(token: &str) -> serde_json::Value {
    crate::support::Forge::claims_of(token)
}
