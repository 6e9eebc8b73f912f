//! What is done off the request path: keeping the blacklist true, and (`flush.rs`) removing what is over.

use std::{pin::pin, sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::{sync::Mutex, time::timeout};

pub use super::flush::Flushed;
use super::{
    Revocation,
    rebuild::{Rebuild, Rest},
    written::Written,
};
use crate::{
    domain::{ids::UserId, session::Session, time::Moment},
    ports::{
        AuditStore, Blacklist, Clock, Look, Mark, Memory, SessionStore, StoreError, UserStore,
    },
};

/// Rows in one statement.
pub(super) const BATCH: i64 = 500;

/// The period before the last round for which marks are written again. It is longer than the time between a statement's
/// stamp and its commit.
const OVERLAP: TimeDelta = TimeDelta::minutes(2);

/// How far back the first time.
const FIRST: TimeDelta = TimeDelta::minutes(5);

/// The interval between looks at Redis while a round waits for the database. It is shorter than the life of an epoch.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The janitor.
pub struct Janitor {
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
    reapplied_until: Option<Moment>,
    rebuild: Option<Rebuild>,
    rest: Rest,
    written: Written,
}

impl Janitor {
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
    pub async fn keep_blacklist(&self) -> Result<bool, StoreError> {
        let Some(blacklist) = self.revocation.blacklist() else {
            return Ok(false);
        };
        let mut state = self.state.lock().await;
        let look = blacklist.look().await?;
        match look.memory {
            Memory::Kept => {
                let reapply = self.reapply(blacklist.as_ref(), &mut state, &look);
                let (reapplied, stayed) =
                    while_looking(blacklist.as_ref(), LOOK_AGAIN, reapply).await;
                reapplied?;
                if stayed {
                    // Only now are revocations included that others made while the connection was down.
                    blacklist.believe(&look);
                }
                return Ok(false);
            }
            // The warnings name the other deployment.
            Memory::Foreign => return Ok(false),
            Memory::Filling(_) | Memory::Lost => {}
        }
        if state.rest.takes_a_round() {
            return Ok(false);
        }
        let rebuilt = self.rebuild(blacklist.as_ref(), &mut state, &look).await;
        if matches!(rebuilt, Ok(true)) {
            state.rest = Rest::default();
        } else {
            blacklist.note_failed_rebuild();
            state.rest.after_failure();
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
        look: &Look,
    ) -> Result<bool, StoreError> {
        let resumed = state
            .rebuild
            .take()
            .filter(|rebuild| look.memory == Memory::Filling(rebuild.ticket));
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
            state.reapplied_until = Some(began);
            state.written = Written::default();
        }
        tracing::info!(sealed, "the blacklist was rebuilt from the database");
        Ok(sealed)
    }

    async fn reapply(
        &self,
        blacklist: &dyn Blacklist,
        state: &mut State,
        look: &Look,
    ) -> Result<(), StoreError> {
        // Read before the pages, and from the clock that stamps them: the local clock may differ.
        let now = self.sessions.stamping_clock(self.clock.now()).await?;
        // Starts at the last round, so that no revocation is missed while this instance could not look. A clock that
        // was set back stamps new revocations earlier than that, so the earlier time counts.
        let since = state
            .reapplied_until
            .map_or(now - FIRST, |last| last.min(now) - OVERLAP);
        let State {
            reapplied_until,
            written,
            ..
        } = state;
        written.keep((look.number, look.connection), since);
        let mut after = None;
        loop {
            let page = self.sessions.revoked_since(since, after, BATCH).await?;
            write_new(blacklist, written, self.marks_of(&page, now), now).await?;
            after = page
                .last()
                .and_then(|last| Some((last.revoked?.0, last.id)));
            if is_last(page.len()) {
                break;
            }
        }
        let mut after = None;
        loop {
            let page = self.users.cut_offs(since, after, BATCH).await?;
            write_new(blacklist, written, self.cut_offs_of(&page), now).await?;
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
    pub(super) fn marks_of(&self, sessions: &[Session], now: Moment) -> Vec<(Mark, TimeDelta)> {
        let now = now.min(self.clock.now());
        sessions
            .iter()
            .filter_map(|session| Revocation::mark_of(session, now))
            .collect()
    }

    pub(super) fn cut_offs_of(&self, users: &[(Moment, UserId, u32)]) -> Vec<(Mark, TimeDelta)> {
        users
            .iter()
            .map(|(_, user, version)| self.revocation.cut_off(user.clone(), *version))
            .collect()
    }
}

async fn write_new(
    blacklist: &dyn Blacklist,
    written: &mut Written,
    mut marks: Vec<(Mark, TimeDelta)>,
    now: Moment,
) -> Result<(), StoreError> {
    marks.retain(|(mark, _)| written.lacks(mark));
    blacklist.fill(&marks).await?;
    for (mark, _) in &marks {
        written.note(mark, now);
    }
    Ok(())
}

/// Runs `work`, and meanwhile looks at Redis often enough to keep its epochs alive. Also returns true if each look
/// found the memory kept.
async fn while_looking<T>(
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
            .look()
            .await
            .is_ok_and(|look| look.memory == Memory::Kept);
    }
}

fn is_last(rows: usize) -> bool {
    i64::try_from(rows).is_ok_and(|rows| rows < BATCH)
}

#[cfg(test)]
#[path = "janitor_tests.rs"]
mod tests;
