//! Port of the session store, the source of truth for every token.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Clock, StoreError};
use crate::{
    audit::AuditEvent,
    ids::{SessionId, UserId},
    session::{RevokedReason, Session, SessionState},
    time::Moment,
};

/// Session to insert.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Session at generation 0.
    pub session: Session,
    /// True to update the user's time of the last login in the same statement.
    pub update_last_login: bool,
    /// Audit event, written in the same transaction.
    pub audit: AuditEvent,
}

/// Revocation of one session.
#[derive(Clone, Debug)]
pub struct Revoke {
    /// Session to revoke.
    pub id: SessionId,
    /// User and session epoch of a live session. If set, no other session is revoked.
    pub of: Option<(UserId, u32)>,
    /// Reason that is stored.
    pub reason: RevokedReason,
    /// Current time by the caller's clock. The revocation is stamped by
    /// [`SessionStore::stamping_clock`].
    pub now: Moment,
    /// Audit event, written in the same transaction.
    pub audit: AuditEvent,
}

/// Rotation from one generation to the next.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// Session of the refresh token.
    pub id: SessionId,
    /// User in the token.
    pub user: UserId,
    /// Session epoch in the token.
    pub session_epoch: u32,
    /// Generation in the token.
    pub generation: u32,
    /// Address of the client.
    pub ip: Option<String>,
    /// `User-Agent` of the client.
    pub user_agent: Option<String>,
}

/// Repeat within the reuse grace, by a client other than the holder.
#[derive(Clone, Copy, Debug)]
pub struct Repeat {
    /// Session of the refresh token.
    pub id: SessionId,
    /// Current generation, which is issued again.
    pub generation: u32,
    /// Maximum number of repeats of a generation, at least 1.
    pub limit: u32,
}

/// Page of all sessions.
#[derive(Clone, Debug)]
pub struct SessionPage {
    /// Sessions, ordered by id.
    pub sessions: Vec<Session>,
    /// Position of the next page. `None` at the end.
    pub next: Option<SessionId>,
}

/// Rotations in a store. Separate from [`SessionStore`], so that one can be combined with others
/// (coalescing) without the rest.
#[async_trait]
pub trait RotationStore: Send + Sync {
    /// Rotates a session. Its row must match the token's user, epoch and generation, be neither
    /// revoked nor expired, and belong to an active user with the same epoch. Returns the state
    /// afterwards to the one caller that succeeds, and `None` to all others. They read the row with
    /// [`SessionStore::find`] to find the reason.
    ///
    /// The clock is read when the statement is sent. A request may have waited for a connection,
    /// and that time must not shorten the reuse grace.
    async fn rotate(
        &self,
        rotation: Rotation,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<SessionState>, StoreError>;
}

/// Store of sessions.
///
/// Each change is one statement that contains its own condition. Of any number of concurrent
/// callers, exactly one changes the row; the result shows the others that they did not.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Succeeds if the store responds and its last write succeeded.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Tries a write that changes nothing. For the embedded database, which may respond although
    /// its disk is full. [`ping`](Self::ping) reports the result.
    async fn check_writes(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Inserts the session if its user exists, is active and has the session's epoch. Returns the
    /// number of other live sessions of the user just before, or `None` if nothing was inserted.
    async fn insert(&self, new: NewSession) -> Result<Option<u32>, StoreError>;

    /// Revokes the oldest live sessions of the user of `newest` until `limit` remain. `newest`
    /// itself remains if it is live. Concurrent calls for one user see each other's changes.
    /// Returns the sessions that this call revoked. For each, `audit` is written in the same
    /// transaction.
    async fn trim(
        &self,
        newest: &Session,
        limit: u32,
        audit: AuditEvent,
    ) -> Result<Vec<Session>, StoreError>;

    /// Counts a repeat if the session has this generation, is not revoked, and has repeats left.
    /// Returns true if it was counted. Of concurrent calls, at most `limit` are counted.
    async fn count_repeat(&self, repeat: Repeat) -> Result<bool, StoreError>;

    /// Returns the session and its user, or `None` if it does not exist.
    async fn find(&self, id: SessionId) -> Result<Option<SessionState>, StoreError>;

    /// Revokes the session if it is not revoked and matches [`Revoke::of`]. Returns the session
    /// afterwards, and true if this call revoked it. Returns `None` if it does not exist.
    async fn revoke(&self, revoke: Revoke) -> Result<Option<(Session, bool)>, StoreError>;

    /// Returns the sessions of a user that are neither revoked nor expired at `now`, newest first.
    async fn list_live(&self, user: &UserId, now: Moment) -> Result<Vec<Session>, StoreError>;

    /// Returns up to `limit` sessions with ids after `after`, in any state.
    async fn page(&self, after: Option<SessionId>, limit: i64) -> Result<SessionPage, StoreError>;

    /// Returns the time of the stamping clock: the database's if it has a clock, else `ours`.
    async fn stamping_clock(&self, ours: Moment) -> Result<Moment, StoreError>;

    /// Returns up to `limit` sessions that were revoked at or after `since` by the stamping clock,
    /// ordered by time of revocation and id. The page begins after `after`.
    async fn revoked_since(
        &self,
        since: Moment,
        after: Option<(Moment, SessionId)>,
        limit: i64,
    ) -> Result<Vec<Session>, StoreError>;

    /// Removes up to `limit` sessions that expired before `before`. Returns their number. Each row
    /// holds its own expiry, so the settings of the calling process do not matter.
    async fn purge(&self, before: Moment, limit: i64) -> Result<usize, StoreError>;
}
