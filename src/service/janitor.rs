//! What is done off the request path: keeping the blacklist true, and removing what is over.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use chrono::TimeDelta;

use super::Revocation;
use crate::{
    domain::time::Moment,
    ports::{AuditStore, Blacklist, Clock, SessionStore, StoreError, UserStore},
};

/// Rows in one statement.
const BATCH: i64 = 500;

/// How far back marks are written again: longer than a statement may take and clocks may differ.
const OVERLAP: TimeDelta = TimeDelta::minutes(2);

/// How long what is over is still kept: more than any leeway and any difference between clocks.
const MARGIN: TimeDelta = TimeDelta::days(1);

/// How far back the first time.
const FIRST: TimeDelta = TimeDelta::minutes(5);

/// The janitor.
pub struct Janitor {
    audit: Arc<dyn AuditStore>,
    audit_retention: Option<TimeDelta>,
    clock: Arc<dyn Clock>,
    reapplied_until: AtomicI64,
    revocation: Revocation,
    sessions: Arc<dyn SessionStore>,
    users: Arc<dyn UserStore>,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Flushed {
    /// Sessions that have ended, and every token of theirs with them.
    pub sessions: usize,
    /// Deleted users who have no session left.
    pub users: usize,
    /// Audit events that are older than they are kept.
    pub events: usize,
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
        Self { audit, audit_retention, clock, reapplied_until: AtomicI64::new(0), revocation, sessions, users }
    }

    /// Keeps the blacklist true: rebuilds it when it lost its memory, else writes again what was revoked lately, so
    /// that a mark which one instance could not write is missed by the others for no more than a moment. Run it
    /// every second. Whether it rebuilt.
    ///
    /// # Errors
    /// When a store cannot be reached; nothing is lost, the next run does it.
    pub async fn keep_blacklist(&self) -> Result<bool, StoreError> {
        let Some(blacklist) = self.revocation.blacklist() else { return Ok(false) };
        if blacklist.needs_rebuild().await? {
            return self.rebuild(blacklist.as_ref()).await;
        }
        self.reapply(blacklist.as_ref()).await?;
        Ok(false)
    }

    async fn rebuild(&self, blacklist: &dyn Blacklist) -> Result<bool, StoreError> {
        let ticket = blacklist.start_rebuild().await?;
        let now = self.clock.now();
        let mut after = None;
        loop {
            let page = self.sessions.page(after, BATCH).await?;
            let marks: Vec<_> =
                page.sessions.iter().filter_map(|session| self.revocation.mark_of(session, now)).collect();
            blacklist.write(&marks).await?;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        self.write_cut_offs(blacklist, now - self.revocation.longest()).await?;
        let sealed = blacklist.finish_rebuild(ticket).await?;
        if sealed {
            // However long it took: what was revoked meanwhile is looked for from its beginning on.
            self.reapplied_until.store(now.timestamp(), Ordering::Release);
        }
        tracing::info!(sealed, "the blacklist was rebuilt from the database");
        Ok(sealed)
    }

    async fn reapply(&self, blacklist: &dyn Blacklist) -> Result<(), StoreError> {
        let now = self.clock.now();
        // However long ago the last time was: what others revoked while this instance could not look is not lost.
        let since = match self.reapplied_until.load(Ordering::Acquire) {
            0 => now - FIRST,
            last => Moment::from_timestamp(last, 0).unwrap_or_default() - OVERLAP,
        };
        let revoked = self.sessions.revoked_since(since).await?;
        let marks: Vec<_> = revoked.iter().filter_map(|session| self.revocation.mark_of(session, now)).collect();
        if !marks.is_empty() {
            blacklist.write(&marks).await?;
        }
        self.write_cut_offs(blacklist, since).await?;
        self.reapplied_until.store(now.timestamp(), Ordering::Release);
        Ok(())
    }

    async fn write_cut_offs(&self, blacklist: &dyn Blacklist, since: Moment) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = self.users.cut_offs(since, after.as_ref(), BATCH).await?;
            let marks: Vec<_> =
                page.iter().map(|(user, version)| self.revocation.cut_off(user.clone(), *version)).collect();
            if marks.is_empty() {
                return Ok(());
            }
            blacklist.write(&marks).await?;
            after = page.into_iter().last().map(|(user, _)| user);
        }
    }

    /// Removes sessions and deleted users whose last token has ended: simplejwt's `flushexpiredtokens`, in batches.
    ///
    /// # Errors
    /// When the database cannot be reached; what was removed stays removed.
    pub async fn flush_expired(&self) -> Result<Flushed, StoreError> {
        let now = self.clock.now();
        let before = now - MARGIN;
        let mut flushed = Flushed::default();
        loop {
            let removed = self.sessions.purge(before, BATCH).await?;
            flushed.sessions += removed;
            if removed == 0 {
                break;
            }
        }
        loop {
            let removed = self.users.purge(before, BATCH).await?;
            flushed.users += removed;
            if removed == 0 {
                break;
            }
        }
        if let Some(retention) = self.audit_retention {
            loop {
                let removed = self.audit.purge(now - retention, BATCH).await?;
                flushed.events += removed;
                if removed == 0 {
                    break;
                }
            }
        }
        Ok(flushed)
    }
}
