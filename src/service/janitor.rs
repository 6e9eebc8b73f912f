//! What is done off the request path: keeping the blacklist true, and (`flush.rs`) removing what is over.

use std::{pin::pin, sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::{sync::Mutex, time::timeout};

pub use super::purge::Purged;
use super::{
    Revocation,
    cache_rebuild::{Backoff, Rebuild},
    recent_writes::RecentWrites,
};
use crate::{
    domain::{ids::UserId, session::Session, time::Moment},
    ports::{
        AuditStore, Blacklist, BlacklistEntry, CacheState, Clock, Probe, SessionStore, StoreError,
        UserStore,
    },
};

/// Rows in one statement.
pub(super) const PAGE_SIZE: i64 = 500;

/// The period before the last round for which marks are written again. It is longer than the time between a statement's
/// stamp and its commit.
const OVERLAP: TimeDelta = TimeDelta::minutes(2);

/// How far back the first time.
const FIRST_OVERLAP: TimeDelta = TimeDelta::minutes(5);

/// The interval between looks at Redis while a round waits for the database. It is shorter than the life of an epoch.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// The janitor.
pub struct Maintenance {
    pub(super) audit: Arc<dyn AuditStore>,
    pub(super) audit_retention: Option<TimeDelta>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) revocation: Revocation,
    pub(super) sessions: Arc<dyn SessionStore>,
    state: Mutex<State>,
    pub(super) users: Arc<dyn UserStore>,
}

#[derive(Default)]
struct State {
    replayed_until: Option<Moment>,
    rebuild: Option<Rebuild>,
    rest: Backoff,
    recent_writes: RecentWrites,
}

impl Maintenance {
    /// A janitor over these stores. Audit events are kept for `audit_retention`, or for ever.
    #[must_use]
    pub fn new(
        clock: Arc<dyn Clock>,
        users: Arc<dyn UserStore>,
        sessions: Arc<dyn SessionStore>,
        (audit, audit_retention): (Arc<dyn AuditStore>, Option<TimeDelta>),
        revocation: Revocation,
    ) -> Self {
        Self {
            audit,
            audit_retention,
            clock,
            revocation,
            sessions,
            state: Mutex::default(),
            users,
        }
    }

    /// Keeps the blacklist true: rebuilds it when it lost its memory, else writes again what was revoked lately, so
    /// that a mark which one instance could not write is missed by the others for no more than a moment. Run it
    /// every second. Whether it rebuilt.
    ///
    /// # Errors
    /// When a store cannot be reached; nothing is lost, a later run goes on from there.
    pub async fn sync(&self) -> Result<bool, StoreError> {
        let Some(blacklist) = self.revocation.blacklist() else {
            return Ok(false);
        };
        let mut state = self.state.lock().await;
        let look = blacklist.probe().await?;
        match look.state {
            CacheState::Current => {
                let reapply = self.replay_recent(blacklist.as_ref(), &mut state, &look);
                let (reapplied, stayed) =
                    while_probing(blacklist.as_ref(), PROBE_INTERVAL, reapply).await;
                reapplied?;
                if stayed {
                    // Only now are revocations included that others made while the connection was down.
                    blacklist.trust(&look);
                }
                return Ok(false);
            }
            // The warnings name the other deployment.
            CacheState::Foreign => return Ok(false),
            CacheState::Rebuilding(_) | CacheState::Unknown => {}
        }
        if state.rest.should_skip() {
            return Ok(false);
        }
        let rebuilt = self.rebuild(blacklist.as_ref(), &mut state, &look).await;
        if matches!(rebuilt, Ok(true)) {
            state.rest = Backoff::default();
        } else {
            blacklist.record_failed_rebuild();
            state.rest.record_failure();
        }
        rebuilt
    }

    /// What the last look found wrong with how the blacklist's servers are set up, a sentence each.
    #[must_use]
    pub fn blacklist_warnings(&self) -> Vec<String> {
        self.revocation
            .blacklist()
            .map(|blacklist| blacklist.warnings())
            .unwrap_or_default()
    }

    /// Tries a write, so that readiness reports a full disk before a sign-in finds out, and its end without one.
    ///
    /// # Errors
    /// When the database takes no writes.
    pub async fn check_writes(&self) -> Result<(), StoreError> {
        self.sessions.check_writes().await
    }

    async fn rebuild(
        &self,
        blacklist: &dyn Blacklist,
        state: &mut State,
        look: &Probe,
    ) -> Result<bool, StoreError> {
        let resumed = state
            .rebuild
            .take()
            .filter(|rebuild| look.state == CacheState::Rebuilding(rebuild.ticket));
        let mut rebuild = if let Some(rebuild) = resumed {
            rebuild
        } else {
            let began = self.sessions.stamping_clock(self.clock.now()).await?;
            Rebuild::new(blacklist.start_rebuild().await?, began)
        };
        let filled = self.fill(blacklist, &mut rebuild).await;
        let (ticket, began) = (rebuild.ticket, rebuild.began);
        state.rebuild = Some(rebuild);
        filled?;
        let sealed = blacklist.finish_rebuild(ticket).await?;
        state.rebuild = None;
        if sealed {
            // However long it took: what was revoked meanwhile is looked for from its beginning on.
            state.replayed_until = Some(began);
            state.recent_writes = RecentWrites::default();
        }
        tracing::info!(sealed, "the blacklist was rebuilt from the database");
        Ok(sealed)
    }

    async fn replay_recent(
        &self,
        blacklist: &dyn Blacklist,
        state: &mut State,
        look: &Probe,
    ) -> Result<(), StoreError> {
        // Read before the pages, and from the clock that stamps them: the local clock may differ.
        let now = self.sessions.stamping_clock(self.clock.now()).await?;
        // Starts at the last round, so that no revocation is missed while this instance could not look. A clock that
        // was set back stamps new revocations earlier than that, so the earlier time counts.
        let since = state
            .replayed_until
            .map_or(now - FIRST_OVERLAP, |last| last.min(now) - OVERLAP);
        let State {
            replayed_until: reapplied_until,
            recent_writes: written,
            ..
        } = state;
        written.retain((look.number, look.connection), since);
        let mut after = None;
        loop {
            let page = self.sessions.revoked_since(since, after, PAGE_SIZE).await?;
            write_new(blacklist, written, self.session_entries(&page, now), now).await?;
            after = page
                .last()
                .and_then(|last| Some((last.revoked?.0, last.id)));
            if is_last(page.len()) {
                break;
            }
        }
        let mut after = None;
        loop {
            let page = self
                .users
                .epochs_raised_since(since, after, PAGE_SIZE)
                .await?;
            write_new(blacklist, written, self.epoch_entries(&page), now).await?;
            if is_last(page.len()) {
                break;
            }
            after = page.into_iter().next_back().map(|(at, user, _)| (at, user));
        }
        *reapplied_until = Some(now);
        Ok(())
    }

    /// Returns the marks of these sessions; `now` is the time of the stamping clock. The earlier of the two clocks
    /// counts, so that no mark expires too early.
    pub(super) fn session_entries(
        &self,
        sessions: &[Session],
        now: Moment,
    ) -> Vec<(BlacklistEntry, TimeDelta)> {
        let now = now.min(self.clock.now());
        sessions
            .iter()
            .filter_map(|session| Revocation::entry_of(session, now))
            .collect()
    }

    pub(super) fn epoch_entries(
        &self,
        users: &[(Moment, UserId, u32)],
    ) -> Vec<(BlacklistEntry, TimeDelta)> {
        users
            .iter()
            .map(|(_, user, version)| self.revocation.epoch_entry(user.clone(), *version))
            .collect()
    }
}

async fn write_new(
    blacklist: &dyn Blacklist,
    written: &mut RecentWrites,
    mut marks: Vec<(BlacklistEntry, TimeDelta)>,
    now: Moment,
) -> Result<(), StoreError> {
    marks.retain(|(mark, _)| written.is_missing(mark));
    blacklist.write_best_effort(&marks).await?;
    for (mark, _) in &marks {
        written.record(mark, now);
    }
    Ok(())
}

/// Runs `work`, and meanwhile looks at Redis often enough to keep its epochs alive. Also returns true if each look
/// found the memory kept.
async fn while_probing<T>(
    blacklist: &dyn Blacklist,
    period: Duration,
    work: impl Future<Output = T>,
) -> (T, bool) {
    let (mut work, mut stayed) = (pin!(work), true);
    loop {
        if let Ok(done) = timeout(period, &mut work).await {
            return (done, stayed);
        }
        stayed &= blacklist
            .probe()
            .await
            .is_ok_and(|look| look.state == CacheState::Current);
    }
}

fn is_last(rows: usize) -> bool {
    i64::try_from(rows).is_ok_and(|rows| rows < PAGE_SIZE)
}

#[cfg(test)]
#[path = "janitor_tests.rs"]
mod tests;
