//! Periodic synchronisation of the blacklist with the database, off the request path. Expired rows
//! are removed in `purge.rs`.

use std::{pin::pin, sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::{sync::Mutex, time::timeout};

use super::{
    Revocation,
    cache_rebuild::{Backoff, Rebuild},
    recent_writes::RecentWrites,
};
pub use crate::purge::Purged;
use latchkey_domain::{
    ids::UserId,
    ports::{
        AuditStore, Blacklist, BlacklistEntry, CacheState, Clock, Probe, SessionStore, StoreError,
        UserStore,
    },
    session::Session,
    time::Moment,
};

/// Rows per query.
pub(crate) const PAGE_SIZE: i64 = 500;

/// Period before the last round whose entries are written again. It is longer than the time between
/// the time stamp of a statement and its commit.
const OVERLAP: TimeDelta = TimeDelta::minutes(2);

/// Period that the first round covers.
const FIRST_OVERLAP: TimeDelta = TimeDelta::minutes(5);

/// Interval of the probes while a round waits for the database. It is shorter than the lifetime of
/// a cache epoch.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// Periodic maintenance of the blacklist and the stores.
pub struct Maintenance {
    pub(crate) audit: Arc<dyn AuditStore>,
    pub(crate) audit_retention: Option<TimeDelta>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(super) revocation: Revocation,
    pub(crate) sessions: Arc<dyn SessionStore>,
    state: Mutex<State>,
    pub(crate) users: Arc<dyn UserStore>,
}

#[derive(Default)]
struct State {
    replayed_until: Option<Moment>,
    rebuild: Option<Rebuild>,
    backoff: Backoff,
    recent_writes: RecentWrites,
}

impl Maintenance {
    /// Returns the maintenance of these stores. Audit events are kept for `audit_retention`, or
    /// indefinitely if it is `None`.
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

    /// Synchronises the blacklist with the database: rebuilds it if its entries were lost, and
    /// otherwise replays recent revocations. The replay supplies entries that another instance
    /// failed to write. To be called every second. Returns true after a complete rebuild.
    ///
    /// # Errors
    /// A store cannot be reached. The next call continues from there.
    pub async fn sync(&self) -> Result<bool, StoreError> {
        let Some(blacklist) = self.revocation.blacklist() else {
            return Ok(false);
        };
        let mut state = self.state.lock().await;
        let probe = blacklist.probe().await?;
        match probe.state {
            CacheState::Current => {
                let replay = self.replay_recent(blacklist.as_ref(), &mut state, &probe);
                let (replayed, intact) =
                    while_probing(blacklist.as_ref(), PROBE_INTERVAL, replay).await;
                replayed?;
                if intact {
                    // Only now does the blacklist include revocations by other instances during the
                    // disconnection.
                    blacklist.trust(&probe);
                }
                return Ok(false);
            }
            // The warnings report the other deployment.
            CacheState::Foreign => return Ok(false),
            CacheState::Rebuilding(_) | CacheState::Unknown => {}
        }
        if state.backoff.should_skip() {
            return Ok(false);
        }
        let rebuilt = self.rebuild(blacklist.as_ref(), &mut state, &probe).await;
        if matches!(rebuilt, Ok(true)) {
            state.backoff = Backoff::default();
        } else {
            blacklist.record_failed_rebuild();
            state.backoff.record_failure();
        }
        rebuilt
    }

    /// Returns the configuration faults of the blacklist's servers that the last probe found, one
    /// sentence each.
    #[must_use]
    pub fn blacklist_warnings(&self) -> Vec<String> {
        self.revocation
            .blacklist()
            .map(|blacklist| blacklist.warnings())
            .unwrap_or_default()
    }

    /// Attempts a write, so that readiness detects a full disk, and its end, without waiting for a
    /// sign-in.
    ///
    /// # Errors
    /// The database does not accept writes.
    pub async fn check_writes(&self) -> Result<(), StoreError> {
        self.sessions.check_writes().await
    }

    async fn rebuild(
        &self,
        blacklist: &dyn Blacklist,
        state: &mut State,
        probe: &Probe,
    ) -> Result<bool, StoreError> {
        let resumed = state
            .rebuild
            .take()
            .filter(|rebuild| probe.state == CacheState::Rebuilding(rebuild.ticket));
        let mut rebuild = if let Some(rebuild) = resumed {
            rebuild
        } else {
            let started = self.sessions.stamping_clock(self.clock.now()).await?;
            Rebuild::new(blacklist.start_rebuild().await?, started)
        };
        let filled = self.fill(blacklist, &mut rebuild).await;
        let (ticket, started) = (rebuild.ticket, rebuild.started);
        state.rebuild = Some(rebuild);
        filled?;
        let sealed = blacklist.finish_rebuild(ticket).await?;
        state.rebuild = None;
        if sealed {
            // The replay starts at the beginning of the rebuild, however long that took.
            state.replayed_until = Some(started);
            state.recent_writes = RecentWrites::default();
        }
        tracing::info!(sealed, "blacklist rebuilt from the database");
        Ok(sealed)
    }

    async fn replay_recent(
        &self,
        blacklist: &dyn Blacklist,
        state: &mut State,
        probe: &Probe,
    ) -> Result<(), StoreError> {
        // Read before the pages, from the clock that stamps them. The local clock may differ.
        let now = self.sessions.stamping_clock(self.clock.now()).await?;
        // Starts at the last round, so that no revocation is missed if this instance could not
        // connect. If the clock was set back, new revocations have earlier stamps, so the earlier
        // time counts.
        let since = state
            .replayed_until
            .map_or(now - FIRST_OVERLAP, |last| last.min(now) - OVERLAP);
        let State {
            replayed_until,
            recent_writes: written,
            ..
        } = state;
        written.retain((probe.number, probe.connection), since);
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
        *replayed_until = Some(now);
        Ok(())
    }

    /// Returns the entries of these sessions. `now` is the time of the stamping clock. The
    /// earlier of the two clocks counts, so that no entry expires too early.
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
    mut entries: Vec<(BlacklistEntry, TimeDelta)>,
    now: Moment,
) -> Result<(), StoreError> {
    entries.retain(|(entry, _)| written.is_missing(entry));
    blacklist.write_best_effort(&entries).await?;
    for (entry, _) in &entries {
        written.record(entry, now);
    }
    Ok(())
}

/// Runs `work`, with probes at an interval that keeps the cache epoch alive. The second value is
/// true if each probe found the cache intact.
async fn while_probing<T>(
    blacklist: &dyn Blacklist,
    period: Duration,
    work: impl Future<Output = T>,
) -> (T, bool) {
    let (mut work, mut intact) = (pin!(work), true);
    loop {
        if let Ok(done) = timeout(period, &mut work).await {
            return (done, intact);
        }
        intact &= blacklist
            .probe()
            .await
            .is_ok_and(|probe| probe.state == CacheState::Current);
    }
}

fn is_last(rows: usize) -> bool {
    i64::try_from(rows).is_ok_and(|rows| rows < PAGE_SIZE)
}

#[cfg(test)]
#[path = "janitor_tests.rs"]
mod tests;
