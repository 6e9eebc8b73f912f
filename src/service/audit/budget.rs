//! The budget of audit rows: events that a client can cause repeatedly are written up to a limit, and counted beyond
//! it.
//!
//! Each user, each source and all together have a rate of rows and a burst (the generic cell rate algorithm, with one
//! moment for each bucket). Events beyond a budget become one row a minute, with their number in `times`.

use std::{collections::HashMap, net::IpAddr};

use chrono::TimeDelta;

use crate::domain::{
    audit::{AuditEvent, EventKind, Origin},
    ids::UserId,
    network::{Source, source_of},
    time::Moment,
};

/// The cause of a row that stands for the events beyond a budget.
const OVER_BUDGET: &str = "over_budget";

/// The time for which events beyond a budget are counted before their row is written.
const WINDOW: TimeDelta = TimeDelta::minutes(1);

/// A clock that is set back by more than this resets all budgets.
const SET_BACK: TimeDelta = TimeDelta::seconds(1);

/// The maximum number of buckets. Full ones are removed, so fewer are in use.
const BUCKETS: usize = 16_384;

/// The maximum number of open rows of counted events. Further events are counted in the rows of all together.
const OPEN: usize = 64;

/// A rate of rows.
struct Rate {
    /// The time after which one more row is allowed.
    every: TimeDelta,
    /// The number of rows that are allowed at once.
    burst: i32,
}

/// Ten rows a minute for a user: more than a few faulty clients of an account cause.
const USER: Rate = Rate {
    every: TimeDelta::seconds(6),
    burst: 20,
};

/// Twenty rows a minute for a source. Higher than that of a user, so that one account cannot hide others behind the
/// same address.
const SOURCE: Rate = Rate {
    every: TimeDelta::seconds(3),
    burst: 40,
};

/// Four rows a second for all: about 350,000 a day.
const ALL: Rate = Rate {
    every: TimeDelta::milliseconds(250),
    burst: 1000,
};

/// Thirty rows a minute for the refreshes of a user, which are events only if a setting enables them.
const REFRESHES: Rate = Rate {
    every: TimeDelta::seconds(2),
    burst: 60,
};

/// A bucket.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Share {
    /// For all together.
    All,
    /// For a source, events without a known user. An attacker can make up any number of names.
    Anonymous(Source),
    /// For a source, events with a user.
    Known(Source),
    /// For a user.
    User(UserId),
}

/// Counted events beyond a budget.
struct Beyond {
    row: AuditEvent,
    since: Moment,
    times: u32,
}

/// The budgets of one writer.
pub(super) struct Budget {
    all: Option<Moment>,
    beyond: HashMap<(Share, EventKind), Beyond>,
    refreshes: HashMap<Share, Moment>,
    seen: Moment,
    shares: HashMap<Share, Moment>,
}

impl Rate {
    fn has_room(&self, spent_until: Option<&Moment>, now: Moment) -> bool {
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

    /// Returns the row of the events beyond this bucket; `first` is the first of them.
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
            beyond: HashMap::new(),
            refreshes: HashMap::new(),
            seen: now,
            shares: HashMap::new(),
        }
    }

    /// Returns true if there are counted events without a row.
    pub(super) fn owes(&self) -> bool {
        !self.beyond.is_empty()
    }

    /// Returns the rows to write, and the number of events that were counted instead. Rows of events that were counted
    /// for a minute come first.
    pub(super) fn spend(
        &mut self,
        rows: Vec<(AuditEvent, u32)>,
        now: Moment,
    ) -> (Vec<(AuditEvent, u32)>, u64) {
        self.forget(now);
        let due = |since: Moment| now - since >= WINDOW;
        let mut kept: Vec<_> = self
            .beyond
            .extract_if(|_, beyond| due(beyond.since))
            .map(|(_, beyond)| beyond.row())
            .collect();
        let mut counted = 0;
        for (event, times) in rows {
            match self.charge(&event, now) {
                None => kept.push((event, times)),
                Some(spent) => {
                    counted += u64::from(times);
                    self.count(spent, &event, times, now);
                }
            }
        }
        (kept, counted)
    }

    /// Returns the rows of all counted events.
    pub(super) fn close(&mut self) -> Vec<(AuditEvent, u32)> {
        self.beyond
            .drain()
            .map(|(_, beyond)| beyond.row())
            .collect()
    }

    /// Removes full buckets, which have no effect.
    fn forget(&mut self, now: Moment) {
        if now + SET_BACK < self.seen {
            (self.all, self.refreshes, self.shares) = (None, HashMap::new(), HashMap::new());
        }
        self.seen = now;
        self.shares.retain(|_, until| *until > now);
        self.refreshes.retain(|_, until| *until > now);
    }

    /// Charges an event to its buckets, or returns the one that has no room for it.
    fn charge(&mut self, event: &AuditEvent, now: Moment) -> Option<Share> {
        let shares = Share::of(event);
        if event.kind == EventKind::Refreshed {
            let spent = shares
                .iter()
                .find(|share| !REFRESHES.has_room(self.refreshes.get(share), now))
                .cloned();
            if spent.is_none() && self.refreshes.len() < BUCKETS {
                spend(&mut self.refreshes, shares, |_| &REFRESHES, now);
            }
            return spent;
        }
        let spent = shares
            .iter()
            .find(|share| !share.rate().has_room(self.shares.get(share), now));
        if spent.is_some() {
            return spent.cloned();
        }
        // Only written events create buckets, so a flood cannot create more buckets than rows.
        if self.shares.len() >= BUCKETS || !ALL.has_room(self.all.as_ref(), now) {
            return Some(Share::All);
        }
        self.all = Some(ALL.spend(self.all.as_ref(), now));
        spend(&mut self.shares, shares, Share::rate, now);
        None
    }

    fn count(&mut self, spent: Share, event: &AuditEvent, times: u32, now: Moment) {
        let mut key = (spent, event.kind);
        if self.beyond.len() >= OPEN && !self.beyond.contains_key(&key) {
            key.0 = Share::All;
        }
        let row = || Beyond {
            row: key.0.row(event),
            since: now,
            times: 0,
        };
        let beyond = self.beyond.entry(key.clone()).or_insert_with(row);
        beyond.times = beyond.times.saturating_add(times);
        if matches!(key.0, Share::User(_)) && beyond.row.origin.ip != event.origin.ip {
            beyond.row.origin.ip = None;
        }
    }
}

impl Beyond {
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
