//! Removal of expired rows.

use chrono::TimeDelta;

use super::revocation::janitor::{Maintenance, PAGE_SIZE};
use latchkey_domain::ports::StoreError;

/// Time for which expired rows are kept. It exceeds any leeway and any difference between clocks.
const MARGIN: TimeDelta = TimeDelta::days(1);

/// Numbers of removed rows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Purged {
    /// Expired sessions, whose tokens have all expired.
    pub sessions: usize,
    /// Deleted users without remaining sessions.
    pub users: usize,
    /// Audit events older than the retention.
    pub events: usize,
}

impl Maintenance {
    /// Removes sessions and deleted users whose last token has expired, in batches. Corresponds to
    /// simplejwt's `flushexpiredtokens`.
    ///
    /// # Errors
    /// The database cannot be reached. Finished batches keep their effect.
    pub async fn purge_expired(&self) -> Result<Purged, StoreError> {
        let now = self.clock.now();
        let before = now - MARGIN;
        let mut purged = Purged::default();
        loop {
            let removed = self.sessions.purge(before, PAGE_SIZE).await?;
            purged.sessions += removed;
            if removed == 0 {
                break;
            }
        }
        loop {
            let removed = self.users.purge(before, PAGE_SIZE).await?;
            purged.users += removed;
            if removed == 0 {
                break;
            }
        }
        if let Some(retention) = self.audit_retention {
            loop {
                let removed = self.audit.purge(now - retention, PAGE_SIZE).await?;
                purged.events += removed;
                if removed == 0 {
                    break;
                }
            }
        }
        Ok(purged)
    }
}
