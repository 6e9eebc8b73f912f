//! Counts of requests, outcomes and violations.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// An operation of a client.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Operation {
    Obtain,
    Refresh,
    Verify,
    Blacklist,
    User,
    EndSession,
    EndAll,
}

impl Operation {
    pub const ALL: [Self; 7] = [
        Self::Obtain,
        Self::Refresh,
        Self::Verify,
        Self::Blacklist,
        Self::User,
        Self::EndSession,
        Self::EndAll,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Obtain => "obtain",
            Self::Refresh => "refresh",
            Self::Verify => "verify",
            Self::Blacklist => "log-out",
            Self::User => "protected view",
            Self::EndSession => "end of a session",
            Self::EndAll => "log-out everywhere",
        }
    }
}

/// A broken guarantee.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Violation {
    /// The effect of a 200 response was lost.
    Lost,
    /// A revoked token or a wrong password was accepted.
    Accepted,
    /// A valid token or a correct password was refused by anything but a 503.
    Refused,
    /// A 503 without `Retry-After` or a JSON body, or any other unusable response.
    Defect,
}

/// Counts of one operation.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub requests: u64,
    pub answered: u64,
    pub refused: u64,
    pub unavailable: u64,
    pub broken: u64,
    /// Accepted tokens within the documented second after a revocation that could not reach Redis.
    pub within_second: u64,
    /// Retries after the grace, which are refused by design.
    pub late: u64,
    pub violations: BTreeMap<Violation, u64>,
    milliseconds: Vec<u32>,
}

impl Counts {
    /// Returns a percentile of the latencies, in milliseconds.
    pub fn percentile(&self, percent: usize) -> u32 {
        let mut sorted = self.milliseconds.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
        sorted.get(rank).copied().unwrap_or_default()
    }

    pub fn violations(&self, kind: Violation) -> u64 {
        self.violations.get(&kind).copied().unwrap_or_default()
    }
}

/// Outcome of one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    Answered,
    Refused,
    Unavailable,
    Broken,
}

/// Maximum number of violations that are reported in words.
const MAX_REPORTS: usize = 20;

#[derive(Default)]
struct Records {
    counts: BTreeMap<Operation, Counts>,
    reports: Vec<String>,
    last_trouble: Option<Instant>,
    /// Revoked access tokens that were accepted so early that the documented second may excuse it.
    early: Vec<(Operation, String)>,
}

/// Records shared by all tasks that send requests.
pub struct Tally {
    began: Instant,
    records: Mutex<Records>,
}

impl Tally {
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            records: Mutex::default(),
        }
    }

    pub fn request(&self, operation: Operation, outcome: Outcome, took: Duration) {
        let mut records = self.records();
        if matches!(outcome, Outcome::Unavailable | Outcome::Broken) {
            records.last_trouble = Some(Instant::now());
        }
        let counts = records.counts.entry(operation).or_default();
        counts.requests += 1;
        match outcome {
            Outcome::Answered => counts.answered += 1,
            Outcome::Refused => counts.refused += 1,
            Outcome::Unavailable => counts.unavailable += 1,
            Outcome::Broken => counts.broken += 1,
        }
        if outcome != Outcome::Broken {
            counts
                .milliseconds
                .push(u32::try_from(took.as_millis()).unwrap_or(u32::MAX));
        }
    }

    pub fn violation(&self, operation: Operation, kind: Violation, what: &str) {
        let seconds = self.began.elapsed().as_secs_f32();
        let mut records = self.records();
        *records
            .counts
            .entry(operation)
            .or_default()
            .violations
            .entry(kind)
            .or_default() += 1;
        if records.reports.len() < MAX_REPORTS {
            records.reports.push(format!(
                "{kind:?} at {seconds:.2} s: {}: {what}",
                operation.name()
            ));
        }
    }

    /// Records an accepted token for the decision of [`Tally::settle`].
    pub fn early(&self, operation: Operation, what: &str) {
        let seconds = self.began.elapsed().as_secs_f32();
        self.records()
            .early
            .push((operation, format!("{what} (at {seconds:.2} s)")));
    }

    /// Counts early acceptances: as within the documented second if `excused`, else as violations.
    pub fn settle(&self, excused: bool) {
        let early = std::mem::take(&mut self.records().early);
        for (operation, what) in early {
            if excused {
                self.records()
                    .counts
                    .entry(operation)
                    .or_default()
                    .within_second += 1;
            } else {
                self.violation(operation, Violation::Accepted, &what);
            }
        }
    }

    pub fn late(&self, operation: Operation) {
        self.records().counts.entry(operation).or_default().late += 1;
    }

    /// Returns the time of the last 503 or broken connection.
    pub fn last_trouble(&self) -> Option<Instant> {
        self.records().last_trouble
    }

    pub fn seconds(&self) -> f32 {
        self.began.elapsed().as_secs_f32()
    }

    /// Returns the counts so far, and the first violations in words.
    pub fn read(&self) -> (BTreeMap<Operation, Counts>, Vec<String>) {
        let records = self.records();
        (records.counts.clone(), records.reports.clone())
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap()
    }
}
