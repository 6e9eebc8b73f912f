//! Limit of a user's sessions.

use std::sync::Arc;

use super::stored::StoredSessions;
use crate::sampled::Sampled;
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind},
    ports::StoreError,
    session::{RevokedReason, Session},
    time::Moment,
};

static FAILED: Sampled = Sampled::new();

/// Number of concurrent sign-ins of a user that may not see each other's sessions. Only users this
/// close to the session limit need a second query.
const CONCURRENT_SIGN_INS: u32 = 16;

/// Returns true if a user with `others` sessions besides a new one may exceed the limit.
pub(super) const fn is_near(limit: u32, others: u32) -> bool {
    others.saturating_add(CONCURRENT_SIGN_INS) >= limit
}

/// Ends the oldest sessions of the user beyond the limit. The task completes even if the client
/// disconnects, so that each revocation has its entry. A failure does not fail the sign-in: the
/// next sign-in trims again.
pub(super) async fn trim(stored: &Arc<StoredSessions>, newest: &Session, limit: u32, now: Moment) {
    let reason = RevokedReason::SessionLimit;
    let audit =
        AuditEvent::new(now, EventKind::SessionRevoked, Actor::Service).with_cause(reason.as_str());
    let (sessions, newest) = (Arc::clone(stored), newest.clone());
    let trimmed = tokio::spawn(async move {
        let ended = sessions.store.trim(&newest, limit, audit).await?;
        sessions.revocation.record_revoked(&ended, now).await;
        Ok::<_, StoreError>(ended.len())
    });
    match trimmed.await {
        Ok(Ok(count)) => stored.metrics.count_revoked(reason, count),
        Ok(Err(error)) => {
            if let Some(suppressed) = FAILED.due() {
                tracing::warn!(%error, suppressed, "oldest sessions of a user not ended");
            }
        }
        Err(_) => {
            if let Some(suppressed) = FAILED.due() {
                tracing::error!(
                    suppressed,
                    "oldest sessions of a user not ended: a use case panicked"
                );
            }
        }
    }
}
