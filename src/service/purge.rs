//! Removing what is over.

use chrono::TimeDelta;

use super::janitor::{Maintenance, PAGE_SIZE};
use crate::ports::StoreError;

/// How long what is over is still kept: more than any leeway and any difference between clocks.
const MARGIN: TimeDelta = TimeDelta::days(1);

/// What was removed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Purged {
    /// Sessions that have ended, and every token of theirs with them.
    pub sessions: usize,
    /// Deleted users who have no session left.
    pub users: usize,
    /// Audit events that are older than they are kept.
    pub events: usize,
}

impl Maintenance {
    /// Removes sessions and deleted users whose last token has ended: simplejwt's `flushexpiredtokens`, in batches.
    ///
    /// # Errors
    /// When the database cannot be reached; what was removed stays removed.
    pub async fn purge_expired(&self) -> Result<Purged, StoreError> {
        let now = self.clock.now();
        let before = now - MARGIN;
        let mut flushed = Purged::default();
        loop {
            let removed = self.sessions.purge(before, PAGE_SIZE).await?;
            flushed.sessions += removed;
            if removed == 0 {
                break;
            }
        }
        loop {
            let removed = self.users.purge(before, PAGE_SIZE).await?;
            flushed.users += removed;
            if removed == 0 {
                break;
            }
        }
        if let Some(retention) = self.audit_retention {
            loop {
                let removed = self.audit.purge(now - retention, PAGE_SIZE).await?;
                flushed.events += removed;
                if removed == 0 {
                    break;
                }
            }
        }
        Ok(flushed)
    }
}
