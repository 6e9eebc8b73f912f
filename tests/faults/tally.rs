//! What was asked and what came of it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// What a client asks for.
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

/// What must not happen.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Violation {
    /// An answered 200 whose effect is gone.
    Lost,
    /// A dead token or a wrong password was let through.
    Accepted,
    /// A live token or a right password was refused by anything but a 503.
    Refused,
    /// A 503 without `Retry-After` or a JSON body, or any other answer that no client can use.
    Defect,
}

/// The numbers of one operation.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub requests: u64,
    pub answered: u64,
    pub refused: u64,
    pub unavailable: u64,
    pub broken: u64,
    /// A revocation that another instance had not heard of yet, where that is announced.
    pub within_second: u64,
    /// A retry that came after the grace: refused by design.
    pub late: u64,
    pub violations: BTreeMap<Violation, u64>,
    milliseconds: Vec<u32>,
}

impl Counts {
    /// The share in per cent of answers that took no longer than this, in milliseconds.
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

/// What came back, as far as the wire tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    Answered,
    Refused,
    Unavailable,
    Broken,
}

/// How many violations are told in full.
const TOLD: usize = 20;

#[derive(Default)]
struct Pages {
    counts: BTreeMap<Operation, Counts>,
    told: Vec<String>,
    last_trouble: Option<Instant>,
    /// Dead access tokens that were accepted so early that the announced second may excuse it.
    early: Vec<(Operation, String)>,
}

/// Shared by all who ask.
pub struct Tally {
    began: Instant,
    pages: Mutex<Pages>,
}

impl Tally {
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            pages: Mutex::default(),
        }
    }

    pub fn request(&self, operation: Operation, outcome: Outcome, took: Duration) {
        let mut pages = self.pages();
        if matches!(outcome, Outcome::Unavailable | Outcome::Broken) {
            pages.last_trouble = Some(Instant::now());
        }
        let counts = pages.counts.entry(operation).or_default();
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
        let mut pages = self.pages();
        *pages
            .counts
            .entry(operation)
            .or_default()
            .violations
            .entry(kind)
            .or_default() += 1;
        if pages.told.len() < TOLD {
            pages.told.push(format!(
                "{kind:?} at {seconds:.2} s: {}: {what}",
                operation.name()
            ));
        }
    }

    /// What [`Tally::settle`] decides about.
    pub fn early(&self, operation: Operation, what: &str) {
        let seconds = self.began.elapsed().as_secs_f32();
        self.pages()
            .early
            .push((operation, format!("{what} (at {seconds:.2} s)")));
    }

    /// Counts what was early: within the announced second if that is excused, else as violations.
    pub fn settle(&self, excused: bool) {
        let early = std::mem::take(&mut self.pages().early);
        for (operation, what) in early {
            if excused {
                self.pages()
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
        self.pages().counts.entry(operation).or_default().late += 1;
    }

    /// When a request last met a 503 or a broken connection.
    pub fn last_trouble(&self) -> Option<Instant> {
        self.pages().last_trouble
    }

    pub fn seconds(&self) -> f32 {
        self.began.elapsed().as_secs_f32()
    }

    /// The numbers so far, and the first violations in words.
    pub fn read(&self) -> (BTreeMap<Operation, Counts>, Vec<String>) {
        let pages = self.pages();
        (pages.counts.clone(), pages.told.clone())
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap()
    }
}
