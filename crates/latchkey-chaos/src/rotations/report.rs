//! Results as the tables of docs/reliability.md and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{
    rotations::run::Outcome,
    tally::{Counts, Operation, Violation},
};

/// Returns three tables: the load, the verifiers, and the revocations.
pub fn tables(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| keys in | rotations | new keys per rotation | signs after | seconds | requests | tokens issued | verified | 503 | \
         connection broken | lost | wrongly accepted | wrongly refused |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for outcome in outcomes {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {:.0} | {} | {} | {} | {} | {} | {} | {} | {} |",
            outcome.place,
            outcome.rotated.len(),
            created(outcome),
            signed_after(outcome),
            outcome.seconds,
            sum(outcome, |counts| counts.requests),
            issued(outcome),
            answered(outcome, Operation::Verify) + answered(outcome, Operation::User),
            sum(outcome, |counts| counts.unavailable),
            sum(outcome, |counts| counts.broken),
            kind(outcome, Violation::Lost),
            kind(outcome, Violation::Accepted),
            kind(outcome, Violation::Refused) + kind(outcome, Violation::Defect),
        );
    }
    text.push_str("\n| keys in | verifier | key sets fetched | tokens checked | refused |\n|---|---|--:|--:|--:|\n");
    for outcome in outcomes {
        for one in &outcome.verified {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                outcome.place, one.name, one.fetched, one.checked, one.refused
            );
        }
    }
    text.push_str(
        "\n| keys in | revoked | tokens | command | last accepted after | later requests | accepted |\n\
         |---|---|--:|--:|--:|--:|--:|\n",
    );
    for outcome in outcomes {
        for one in &outcome.revoked {
            let what = if one.usage == "access" {
                "signing access key"
            } else {
                "signing refresh secret"
            };
            let (place, worst) = (outcome.place, one.worst());
            let (tokens, command, requests, accepted) =
                (one.tokens, one.command, one.requests, one.accepted);
            let _ = writeln!(
                text,
                "| {place} | {what} | {tokens} | {command:.1} s | {worst:.1} s | {requests} | {accepted} |"
            );
        }
    }
    text
}

pub fn json(outcomes: &[Outcome]) -> Value {
    let outcome = |outcome: &Outcome| {
        let operation = |(operation, counts): (&Operation, &Counts)| {
            json!({
                "operation": operation.name(), "requests": counts.requests, "answered": counts.answered,
                "refused": counts.refused, "unavailable": counts.unavailable, "broken": counts.broken,
                "within_second": counts.within_second,
                "lost": counts.violations(Violation::Lost), "wrongly_accepted": counts.violations(Violation::Accepted),
                "wrongly_refused": counts.violations(Violation::Refused), "defects": counts.violations(Violation::Defect),
                "p99_ms": counts.percentile(99), "worst_ms": counts.percentile(100),
            })
        };
        let rotated = outcome.rotated.iter().map(|one| {
            json!({
                "use": one.order.usage, "algorithm": one.order.algorithm, "keys_created": one.created,
                "signed_after_seconds": one.signed_after,
            })
        });
        let verified = outcome.verified.iter().map(|one| {
            json!({ "verifier": one.name, "fetched": one.fetched, "checked": one.checked, "refused": one.refused })
        });
        let revoked = outcome.revoked.iter().map(|one| {
            json!({
                "use": one.usage, "last_accepted_seconds": one.last_accepted, "command_seconds": one.command,
                "tokens": one.tokens, "later_requests": one.requests, "later_accepted": one.accepted,
            })
        });
        json!({
            "keys_in": outcome.place, "seconds": outcome.seconds, "violations": outcome.reports,
            "rotations": rotated.collect::<Vec<_>>(), "verifiers": verified.collect::<Vec<_>>(),
            "revocations": revoked.collect::<Vec<_>>(),
            "operations": outcome.counts.iter().map(operation).collect::<Vec<_>>(),
        })
    };
    json!({ "arrangements": outcomes.iter().map(outcome).collect::<Vec<_>>() })
}

fn issued(outcome: &Outcome) -> u64 {
    2 * (answered(outcome, Operation::Obtain) + answered(outcome, Operation::Refresh))
}

fn answered(outcome: &Outcome, operation: Operation) -> u64 {
    outcome
        .counts
        .get(&operation)
        .map_or(0, |counts| counts.answered)
}

fn sum(outcome: &Outcome, number: impl Fn(&Counts) -> u64) -> u64 {
    outcome.counts.values().map(number).sum()
}

fn kind(outcome: &Outcome, kind: Violation) -> u64 {
    sum(outcome, |counts| counts.violations(kind))
}

/// Returns one number if all are the same, else the range.
fn created(outcome: &Outcome) -> String {
    let created = || outcome.rotated.iter().map(|one| one.created);
    match (
        created().min().unwrap_or_default(),
        created().max().unwrap_or_default(),
    ) {
        (minimum, maximum) if minimum == maximum => maximum.to_string(),
        (minimum, maximum) => format!("**{minimum} to {maximum}**"),
    }
}

fn signed_after(outcome: &Outcome) -> String {
    let after = || outcome.rotated.iter().map(|one| one.signed_after);
    format!(
        "{:.1} to {:.1} s",
        after().fold(f32::MAX, f32::min),
        after().fold(0.0, f32::max)
    )
}
