//! Sessions in a store: the truth about every token.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Clock, StoreError};
use crate::domain::{
    audit::AuditEvent,
    ids::{SessionId, UserId},
    session::{RevokedReason, Session, SessionState},
    time::Moment,
};

/// A session that is to be made.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The session, at generation 0.
    pub session: Session,
    /// Whether the sign-in is also noted at the user, in the same statement.
    pub update_last_login: bool,
    /// What the audit trail is told, in the same transaction.
    pub audit: AuditEvent,
}

/// The end of one session.
#[derive(Clone, Debug)]
pub struct Revoke {
    /// Which one.
    pub id: SessionId,
    /// Whose live session it must be, where that matters: the user, and the user's `version`.
    pub of: Option<(UserId, u32)>,
    /// Why.
    pub reason: RevokedReason,
    /// Now, by the caller's clock. The revocation is stamped by [`SessionStore::stamping_clock`].
    pub now: Moment,
    /// What the audit trail is told, in the same transaction.
    pub audit: AuditEvent,
}

/// The exchange of one generation for the next.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// Which session.
    pub id: SessionId,
    /// Whose the token says that it is.
    pub user: UserId,
    /// The user's cut-off counter in the token.
    pub session_epoch: u32,
    /// The generation that was presented.
    pub generation: u32,
    /// Where the request came from.
    pub ip: Option<String>,
    /// What sent it.
    pub user_agent: Option<String>,
}

/// A repeat of a refresh within the grace, by a client that differs from the holder.
#[derive(Clone, Copy, Debug)]
pub struct Repeat {
    /// The session.
    pub id: SessionId,
    /// The live generation, which is issued again.
    pub generation: u32,
    /// The limit of repeats of a generation, at least 1.
    pub limit: u32,
}

/// A stretch of all sessions.
#[derive(Clone, Debug)]
pub struct SessionPage {
    /// Sessions by id.
    pub sessions: Vec<Session>,
    /// Where to go on; `None` at the end.
    pub next: Option<SessionId>,
}

/// Sessions.
///
/// Every method that changes something does so in a statement that carries its own condition: of any number of callers
/// at once exactly one changes the row, and the others are told that they did not.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Succeeds if the store answers and took the last write.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Tries a write that changes nothing, where a store may answer and yet take no writes: on the embedded database,
    /// whose disk may be full. [`ping`](Self::ping) reports the outcome.
    async fn check_writes(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Makes the session if its user is still there, active, and at the session's version. How many other sessions of
    /// the user were live just before, or `None` when it was not made.
    async fn insert(&self, new: NewSession) -> Result<Option<u32>, StoreError>;

    /// Revokes the oldest live sessions of the user of `newest` so that `limit` stay, itself among them if it is still
    /// live. Of several calls at once for one user each sees what the others did. Those that this call revoked; each is
    /// also told to the audit trail as `audit` says, in the same transaction.
    async fn trim(
        &self,
        newest: &Session,
        limit: u32,
        audit: AuditEvent,
    ) -> Result<Vec<Session>, StoreError>;

    /// Raises the generation if it is the one presented, the session is the token's and neither revoked nor over,
    /// and its user is active and not cut off. The state afterwards for the one caller who won, `None` for all others: they read the
    /// row with [`SessionStore::find`] and explain.
    ///
    /// The moment of the rotation is read from the clock when the statement is sent, not when the request came: it may
    /// have waited for a connection, and the grace would have run out while it did.
    async fn rotate(
        &self,
        rotation: Rotation,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<SessionState>, StoreError>;

    /// Counts a repeat if the session is at this generation and not revoked, and if the generation has repeats left.
    /// Returns true if it was counted. Of any number of concurrent calls, `limit` are counted.
    async fn count_repeat(&self, repeat: Repeat) -> Result<bool, StoreError>;

    /// The session and its user.
    async fn find(&self, id: SessionId) -> Result<Option<SessionState>, StoreError>;

    /// Revokes if it is not revoked yet and, where `of` says so, if it is a live session of that user. The session
    /// afterwards, whoever revoked it, or `None` when there is none, and whether it was this call that did it.
    async fn revoke(&self, revoke: Revoke) -> Result<Option<(Session, bool)>, StoreError>;

    /// The sessions of a user that could still be alive by their own row, the newest first.
    async fn list_live(&self, user: &UserId, now: Moment) -> Result<Vec<Session>, StoreError>;

    /// Up to `limit` sessions after `after` by id, dead or alive.
    async fn page(&self, after: Option<SessionId>, limit: i64) -> Result<SessionPage, StoreError>;

    /// Returns the time of the clock that stamps revocations and cut-offs: the database's if it has one, else `ours`.
    async fn stamping_clock(&self, ours: Moment) -> Result<Moment, StoreError>;

    /// Returns up to `limit` sessions that were revoked at or after `since` by the stamping clock, ordered by that
    /// moment and by id. Only sessions after `after` in this order are returned.
    async fn revoked_since(
        &self,
        since: Moment,
        after: Option<(Moment, SessionId)>,
        limit: i64,
    ) -> Result<Vec<Session>, StoreError>;

    /// Removes up to `limit` sessions whose absolute end lies before `before`. How many. The end of a session is in its
    /// row, so no setting of the process that purges decides what is over.
    async fn purge(&self, before: Moment, limit: i64) -> Result<usize, StoreError>;
}
