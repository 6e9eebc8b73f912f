//! Port of the user store.

use async_trait::async_trait;

use super::StoreError;
use crate::{
    audit::AuditEvent,
    ids::UserId,
    password::PasswordHash,
    time::Moment,
    user::{NewUser, User, UserChanges},
    username::Username,
};

/// User with the password hash.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user.
    pub user: User,
    /// Hash of the password.
    pub password_hash: PasswordHash,
}

/// Revocation of all sessions of a user.
#[derive(Clone, Debug)]
pub struct RevokeAll {
    /// Id of the user.
    pub id: UserId,
    /// Current time by the caller's clock. The change is stamped by
    /// [`SessionStore::stamping_clock`](super::SessionStore::stamping_clock).
    pub now: Moment,
    /// Audit event, written in the same transaction if anything changes.
    pub audit: AuditEvent,
}

/// Error of an insert or an update of a user.
#[derive(Debug, thiserror::Error)]
pub enum InsertUserError {
    /// Another user has this e-mail address, ignoring case.
    #[error("a user with that e-mail address already exists")]
    EmailTaken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another user has this name, ignoring case.
    #[error("a user with that username already exists")]
    UsernameTaken,
}

/// Store of users. Deleted users are not found by these methods, except by
/// [`epochs_raised_since`](Self::epochs_raised_since).
///
/// Raising the session epoch revokes all sessions of a user with the change of one row.
#[async_trait]
pub trait UserStore: Send + Sync {
    /// Returns the user with exactly this name, case-sensitive like a simplejwt login.
    async fn find_credentials(
        &self,
        username: &Username,
    ) -> Result<Option<Credentials>, StoreError>;

    /// Returns the user with this name, ignoring case.
    async fn find_by_username(&self, username: &Username) -> Result<Option<User>, StoreError>;

    /// Returns the user with this id.
    async fn find_by_id(&self, id: &UserId) -> Result<Option<User>, StoreError>;

    /// Changes a user, with an audit event in the same transaction. Sessions stay valid. Returns
    /// the user afterwards, or `None` if there is none.
    async fn update(
        &self,
        id: &UserId,
        changes: &UserChanges,
        audit: AuditEvent,
    ) -> Result<Option<User>, InsertUserError>;

    /// Inserts a user. Of concurrent inserts with the same name, one succeeds.
    async fn insert(&self, user: NewUser, audit: AuditEvent) -> Result<User, InsertUserError>;

    /// Returns up to `limit` users with ids after `after`, ordered by id.
    async fn list(&self, after: Option<&UserId>, limit: i64) -> Result<Vec<User>, StoreError>;

    /// Returns true if there is any user.
    async fn any(&self) -> Result<bool, StoreError>;

    /// Replaces the hash if it is still `old`. The password is the same, so sessions stay valid.
    async fn replace_hash(
        &self,
        id: &UserId,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<(), StoreError>;

    /// Sets a new password and revokes all sessions. Returns the user afterwards, or `None` if
    /// there is none.
    async fn set_password(
        &self,
        revoke_all: &RevokeAll,
        hash: &PasswordHash,
    ) -> Result<Option<User>, StoreError>;

    /// Activates or deactivates a user. A change revokes all sessions. Returns the user afterwards,
    /// or `None` if there is none.
    async fn set_active(
        &self,
        revoke_all: &RevokeAll,
        active: bool,
    ) -> Result<Option<User>, StoreError>;

    /// Revokes all sessions of a user. If `epoch` is given, it must be the user's session epoch.
    /// Returns the user afterwards, or `None` if there is none or the epoch differs.
    async fn revoke_all_sessions(
        &self,
        revoke_all: &RevokeAll,
        epoch: Option<u32>,
    ) -> Result<Option<User>, StoreError>;

    /// Raises the session epochs of up to `limit` users after `after` by `step`, in the order of
    /// ids. Returns id and new epoch of each.
    async fn bump_epochs(
        &self,
        now: Moment,
        step: u32,
        after: Option<&UserId>,
        limit: i64,
    ) -> Result<Vec<(UserId, u32)>, StoreError>;

    /// Deletes a user. The name is free at once, and personal data is erased. The row itself stays
    /// until the last token has expired, so that those tokens are refused. Returns the new session
    /// epoch, or `None` if there was no user.
    async fn delete(&self, revoke_all: &RevokeAll) -> Result<Option<u32>, StoreError>;

    /// Returns time, id and session epoch of up to `limit` users whose epoch was raised at or after
    /// `since` by the stamping clock. Deleted users are included. The order is by time and id, and
    /// the page begins after `after`.
    async fn epochs_raised_since(
        &self,
        since: Moment,
        after: Option<(Moment, UserId)>,
        limit: i64,
    ) -> Result<Vec<(Moment, UserId, u32)>, StoreError>;

    /// Removes up to `limit` rows of users deleted before `before` that have no session left.
    /// Returns their number.
    async fn purge(&self, before: Moment, limit: i64) -> Result<usize, StoreError>;
}
