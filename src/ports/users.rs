//! Users in a store.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{
    audit::AuditEvent,
    ids::UserId,
    password::PasswordHash,
    time::Moment,
    user::{NewUser, User, UserChanges},
    username::Username,
};

/// A user and what the password is checked against.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user.
    pub user: User,
    /// The hash.
    pub password_hash: PasswordHash,
}

/// The end of everything that a user holds, and what goes with it.
#[derive(Clone, Debug)]
pub struct RevokeAll {
    /// Whose.
    pub id: UserId,
    /// Now, by the caller's clock. The cut-off is stamped by [`SessionStore::stamping_clock`](super::SessionStore::stamping_clock).
    pub now: Moment,
    /// What the audit trail is told, in the same transaction, if anything changed.
    pub audit: AuditEvent,
}

/// Why a user was not made.
#[derive(Debug, thiserror::Error)]
pub enum InsertUserError {
    /// Another user has this e-mail address, without regard to case.
    #[error("a user with that e-mail address already exists")]
    EmailTaken,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another user has this name, without regard to case.
    #[error("a user with that username already exists")]
    UsernameTaken,
}

/// Users. Deleted ones are not found by anything here; only their sessions remember them.
///
/// Whatever raises `version` is a cut-off: one row, and everything that the user holds is dead.
#[async_trait]
pub trait UserStore: Send + Sync {
    /// The user with exactly this name, case included, as at a simplejwt login.
    async fn find_credentials(
        &self,
        username: &Username,
    ) -> Result<Option<Credentials>, StoreError>;

    /// The user of this name, without regard to case.
    async fn find_by_username(&self, username: &Username) -> Result<Option<User>, StoreError>;

    /// The user with this id.
    async fn find_by_id(&self, id: &UserId) -> Result<Option<User>, StoreError>;

    /// Changes a user, with an audit event in the same transaction; no cut-off. The user afterwards, or `None` when there
    /// is none.
    async fn update(
        &self,
        id: &UserId,
        changes: &UserChanges,
        audit: AuditEvent,
    ) -> Result<Option<User>, InsertUserError>;

    /// Makes a user. Two at once with one name: one is made.
    async fn insert(&self, user: NewUser, audit: AuditEvent) -> Result<User, InsertUserError>;

    /// Up to `limit` users whose id is greater than `after`, by id.
    async fn list(&self, after: Option<&UserId>, limit: i64) -> Result<Vec<User>, StoreError>;

    /// Whether there is any user at all.
    async fn any(&self) -> Result<bool, StoreError>;

    /// Exchanges the hash if it is still `old`. The password is the same, so nothing is cut off.
    async fn replace_hash(
        &self,
        id: &UserId,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<(), StoreError>;

    /// Sets a new password: a cut-off. The user afterwards, or `None` when there is none.
    async fn set_password(
        &self,
        revoke_all: &RevokeAll,
        hash: &PasswordHash,
    ) -> Result<Option<User>, StoreError>;

    /// Activates, or deactivates: a cut-off. The user afterwards, or `None` when there is none.
    async fn set_active(
        &self,
        cut_off: &RevokeAll,
        active: bool,
    ) -> Result<Option<User>, StoreError>;

    /// Cuts everything off that the user holds, if `version` is still the user's, where one is given. The user
    /// afterwards, or `None` when there is none or the version has moved on.
    async fn revoke_all_sessions(
        &self,
        cut_off: &RevokeAll,
        version: Option<u32>,
    ) -> Result<Option<User>, StoreError>;

    /// Cuts off up to `limit` users, by id after `after`, raising each `version` by `step`. Id and new `version` of
    /// each.
    async fn bump_epochs(
        &self,
        now: Moment,
        step: u32,
        after: Option<&UserId>,
        limit: i64,
    ) -> Result<Vec<(UserId, u32)>, StoreError>;

    /// Deletes: the name is free again, what the row said of the person is gone, and the row itself stays until the
    /// last token has ended, so that those tokens are refused. The new `version`, or `None` when there was no user.
    async fn delete(&self, cut_off: &RevokeAll) -> Result<Option<u32>, StoreError>;

    /// Returns moment, id and `version` of up to `limit` users, including deleted ones, who were cut off at or after
    /// `since` by the stamping clock. They are ordered by moment and id, and begin after `after`.
    async fn epochs_raised_since(
        &self,
        since: Moment,
        after: Option<(Moment, UserId)>,
        limit: i64,
    ) -> Result<Vec<(Moment, UserId, u32)>, StoreError>;

    /// Removes up to `limit` rows of users who were deleted before `before` and have no session left. How many.
    async fn purge(&self, before: Moment, limit: i64) -> Result<usize, StoreError>;
}
