//! Results as the tables of docs/reliability.md and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{
    matrix::Outcome,
    tally::{Counts, Operation, Violation},
};

/// Returns two tables: violations by fault, and responses by operation.
pub fn tables(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| fault | requests | 200 | refused | 503 | connection broken | lost | wrongly accepted | wrongly refused | \
         defects | entries not written | within the second | no 503 after | all ready after |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for outcome in outcomes {
        let sum =
            |number: &dyn Fn(&Counts) -> u64| outcome.counts.values().map(number).sum::<u64>();
        let kind = |kind: Violation| sum(&|counts| counts.violations(kind));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            outcome.fault.name,
            sum(&|counts| counts.requests),
            sum(&|counts| counts.answered),
            sum(&|counts| counts.refused),
            sum(&|counts| counts.unavailable),
            sum(&|counts| counts.broken),
            kind(Violation::Lost),
            kind(Violation::Accepted),
            kind(Violation::Refused),
            kind(Violation::Defect),
            outcome.entries_not_written,
            sum(&|counts| counts.within_second),
            seconds(outcome.recovery),
            seconds(outcome.ready),
        );
    }
    text.push_str("\n| fault |");
    for operation in Operation::ALL {
        let _ = write!(text, " {} |", operation.name());
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(Operation::ALL.len()));
    text.push('\n');
    for outcome in outcomes {
        let _ = write!(text, "| {} |", outcome.fault.name);
        for operation in Operation::ALL {
            let _ = write!(
                text,
                " {} |",
                cell(&outcome.counts.get(&operation).cloned().unwrap_or_default())
            );
        }
        text.push('\n');
    }
    text
}

/// Returns the requests, the 503s and broken connections if any, and the p99 and maximum latency in
/// milliseconds.
fn cell(counts: &Counts) -> String {
    let mut text = counts.requests.to_string();
    for (number, name) in [
        (counts.unavailable, "× 503"),
        (counts.broken, "broken"),
        (counts.late, "too late"),
    ] {
        if number > 0 {
            let _ = write!(text, ", {number} {name}");
        }
    }
    let _ = write!(
        text,
        "; {} / {} ms",
        counts.percentile(99),
        counts.percentile(100)
    );
    text
}

fn seconds(value: Option<f32>) -> String {
    value.map_or_else(|| "**never**".to_owned(), |value| format!("{value:.1} s"))
}

pub fn json(outcomes: &[Outcome]) -> Value {
    let operation = |operation: &Operation, counts: &Counts| {
        json!({
            "operation": operation.name(), "requests": counts.requests, "answered": counts.answered,
            "refused": counts.refused, "unavailable": counts.unavailable, "broken": counts.broken,
            "lost": counts.violations(Violation::Lost), "wrongly_accepted": counts.violations(Violation::Accepted),
            "wrongly_refused": counts.violations(Violation::Refused), "defects": counts.violations(Violation::Defect),
            "within_second": counts.within_second, "too_late": counts.late,
            "p50_ms": counts.percentile(50), "p99_ms": counts.percentile(99), "worst_ms": counts.percentile(100),
        })
    };
    let fault = |outcome: &Outcome| {
        let operations: Vec<_> = outcome
            .counts
            .iter()
            .map(|(key, counts)| operation(key, counts))
            .collect();
        json!({
            "fault": outcome.fault.name, "what": outcome.fault.what, "seconds": outcome.seconds,
            "entries_not_written": outcome.entries_not_written, "recovery_seconds": outcome.recovery, "ready_seconds": outcome.ready, "violations": outcome.reports,
            "operations": operations,
        })
    };
    json!({ "faults": outcomes.iter().map(fault).collect::<Vec<_>>() })
}
