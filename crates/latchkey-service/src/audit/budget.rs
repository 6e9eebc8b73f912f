//! Budget of audit rows. Events that a client can cause repeatedly are written up to a limit and
//! counted beyond it.
//!
//! Each user, each source and all events together have a rate of rows and a burst. The algorithm is
//! the generic cell rate algorithm, with one time stamp per bucket. Events beyond a budget become
//! one row a minute, with their number in `times`.

use std::{collections::HashMap, net::IpAddr};

use chrono::TimeDelta;

use latchkey_domain::{
    audit::{AuditEvent, EventKind, Origin},
    ids::UserId,
    network::{Source, source_of},
    time::Moment,
};

/// Cause of a row that summarises events beyond a budget.
const OVER_BUDGET: &str = "over_budget";

/// Time for which events beyond a budget are counted before their row is written.
const WINDOW: TimeDelta = TimeDelta::minutes(1);

/// Step of the clock into the past that resets all budgets.
const MAX_CLOCK_STEP_BACK: TimeDelta = TimeDelta::seconds(1);

/// Maximum number of buckets. Buckets at their full budget are removed.
const MAX_BUCKETS: usize = 16_384;

/// Maximum number of pending summary rows. Further events are counted in the row of all events.
const MAX_PENDING: usize = 64;

/// Rate of rows.
struct Rate {
    /// Time after which one more row is allowed.
    every: TimeDelta,
    /// Number of rows that are allowed at once.
    burst: i32,
}

/// Ten rows a minute per user, which exceeds the events of a few faulty clients of an account.
const USER: Rate = Rate {
    every: TimeDelta::seconds(6),
    burst: 20,
};

/// Twenty rows a minute per source. It exceeds the rate of a user, so that one account cannot hide
/// others behind the same address.
const SOURCE: Rate = Rate {
    every: TimeDelta::seconds(3),
    burst: 40,
};

/// Four rows a second for all events: about 350,000 a day.
const ALL: Rate = Rate {
    every: TimeDelta::milliseconds(250),
    burst: 1000,
};

/// Thirty rows a minute for the refreshes of a user. They are only recorded if a setting enables
/// it.
const REFRESHES: Rate = Rate {
    every: TimeDelta::seconds(2),
    burst: 60,
};

/// Bucket.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Share {
    /// All events.
    All,
    /// Events of a source without a known user. They are separate, because an attacker can invent
    /// any number of names.
    Anonymous(Source),
    /// Events of a source with a known user.
    Known(Source),
    /// Events of a user.
    User(UserId),
}

/// Summary of events beyond a budget.
struct Pending {
    row: AuditEvent,
    since: Moment,
    times: u32,
}

/// Budgets of one writer.
pub(super) struct Budget {
    all: Option<Moment>,
    pending: HashMap<(Share, EventKind), Pending>,
    refreshes: HashMap<Share, Moment>,
    seen: Moment,
    shares: HashMap<Share, Moment>,
}

impl Rate {
    fn allows(&self, spent_until: Option<&Moment>, now: Moment) -> bool {
        spent_until.is_none_or(|until| *until - now <= self.every * (self.burst - 1))
    }

    fn spend(&self, spent_until: Option<&Moment>, now: Moment) -> Moment {
        spent_until.map_or(now, |until| now.max(*until)) + self.every
    }
}

impl Share {
    /// Returns the buckets that an event is charged to, besides `All`.
    fn of(event: &AuditEvent) -> Vec<Self> {
        let user = event.user.clone();
        if event.kind == EventKind::Refreshed {
            return user.map(Self::User).into_iter().collect();
        }
        let source = event
            .origin
            .ip
            .as_deref()
            .and_then(|ip| ip.parse::<IpAddr>().ok())
            .map(source_of);
        let source = source.map(if user.is_some() {
            Self::Known
        } else {
            Self::Anonymous
        });
        user.map(Self::User).into_iter().chain(source).collect()
    }

    const fn rate(&self) -> &'static Rate {
        match self {
            Self::All => &ALL,
            Self::Anonymous(_) | Self::Known(_) => &SOURCE,
            Self::User(_) => &USER,
        }
    }

    /// Returns the summary row for this bucket. `first` is the first event beyond it.
    fn row(&self, first: &AuditEvent) -> AuditEvent {
        let row =
            AuditEvent::new(first.at, first.kind, first.actor.clone()).with_cause(OVER_BUDGET);
        let from = |ip: Option<String>| Origin {
            ip,
            user_agent: None,
        };
        match self {
            Self::All => row.with("budget", "all"),
            Self::Anonymous(source) | Self::Known(source) => row
                .from(&from(Some(source.to_string())))
                .with("budget", "source"),
            Self::User(user) => row
                .of_user(user)
                .from(&from(first.origin.ip.clone()))
                .with("budget", "user"),
        }
    }
}

impl Budget {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            all: None,
            pending: HashMap::new(),
            refreshes: HashMap::new(),
            seen: now,
            shares: HashMap::new(),
        }
    }

    /// Returns true if there are pending summary rows.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Returns the rows to write, and the number of events that were counted instead. Due summary
    /// rows come first.
    pub(super) fn spend(
        &mut self,
        rows: Vec<(AuditEvent, u32)>,
        now: Moment,
    ) -> (Vec<(AuditEvent, u32)>, u64) {
        self.forget(now);
        let due = |since: Moment| now - since >= WINDOW;
        let mut kept: Vec<_> = self
            .pending
            .extract_if(|_, pending| due(pending.since))
            .map(|(_, pending)| pending.row())
            .collect();
        let mut summarised = 0;
        for (event, times) in rows {
            match self.charge(&event, now) {
                None => kept.push((event, times)),
                Some(spent) => {
                    summarised += u64::from(times);
                    self.count(spent, &event, times, now);
                }
            }
        }
        (kept, summarised)
    }

    /// Returns all pending summary rows.
    pub(super) fn close(&mut self) -> Vec<(AuditEvent, u32)> {
        self.pending
            .drain()
            .map(|(_, pending)| pending.row())
            .collect()
    }

    /// Removes buckets at their full budget, because they have no effect.
    fn forget(&mut self, now: Moment) {
        if now + MAX_CLOCK_STEP_BACK < self.seen {
            (self.all, self.refreshes, self.shares) = (None, HashMap::new(), HashMap::new());
        }
        self.seen = now;
        self.shares.retain(|_, until| *until > now);
        self.refreshes.retain(|_, until| *until > now);
    }

    /// Charges an event to its buckets. Returns the exhausted bucket, if there is one.
    fn charge(&mut self, event: &AuditEvent, now: Moment) -> Option<Share> {
        let shares = Share::of(event);
        if event.kind == EventKind::Refreshed {
            let spent = shares
                .iter()
                .find(|share| !REFRESHES.allows(self.refreshes.get(share), now))
                .cloned();
            if spent.is_none() && self.refreshes.len() < MAX_BUCKETS {
                spend(&mut self.refreshes, shares, |_| &REFRESHES, now);
            }
            return spent;
        }
        let spent = shares
            .iter()
            .find(|share| !share.rate().allows(self.shares.get(share), now));
        if spent.is_some() {
            return spent.cloned();
        }
        // Only written events create buckets, so a flood cannot create more buckets than rows.
        if self.shares.len() >= MAX_BUCKETS || !ALL.allows(self.all.as_ref(), now) {
            return Some(Share::All);
        }
        self.all = Some(ALL.spend(self.all.as_ref(), now));
        spend(&mut self.shares, shares, Share::rate, now);
        None
    }

    fn count(&mut self, spent: Share, event: &AuditEvent, times: u32, now: Moment) {
        let mut key = (spent, event.kind);
        if self.pending.len() >= MAX_PENDING && !self.pending.contains_key(&key) {
            key.0 = Share::All;
        }
        let row = || Pending {
            row: key.0.row(event),
            since: now,
            times: 0,
        };
        let pending = self.pending.entry(key.clone()).or_insert_with(row);
        pending.times = pending.times.saturating_add(times);
        if matches!(key.0, Share::User(_)) && pending.row.origin.ip != event.origin.ip {
            pending.row.origin.ip = None;
        }
    }
}

impl Pending {
    fn row(self) -> (AuditEvent, u32) {
        (self.row, self.times)
    }
}

fn spend(
    buckets: &mut HashMap<Share, Moment>,
    shares: Vec<Share>,
    rate: impl Fn(&Share) -> &'static Rate,
    now: Moment,
) {
    for share in shares {
        let until = rate(&share).spend(buckets.get(&share), now);
        buckets.insert(share, until);
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
