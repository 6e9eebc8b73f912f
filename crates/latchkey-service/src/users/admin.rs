//! Management of users by operators: creation, changes and revocation of sessions. Each change that
//! invalidates tokens also writes blacklist entries.

use std::sync::Arc;

use crate::{Error, Revocation};
use latchkey_crypto::{hasher::Hasher, random};
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind},
    email::EmailAddress,
    ids::{SessionId, UserId},
    password::Password,
    ports::{AuditStore, Clock, InsertUserError, Revoke, RevokeAll, SessionStore, UserStore},
    session::{RevokedReason, Session},
    user::{NewUser, User, UserChanges},
    username::{NewUsername, Username},
};

/// Users in one query.
const PAGE: i64 = 500;

/// Increment of the session epochs when the sessions of all users are revoked. It exceeds the
/// number of epochs that any user can have gained since a backup.
const EPOCH_STEP: u32 = 1000;

/// User to be created.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Username, which must be allowed for a new account.
    pub username: NewUsername,
    /// The password.
    pub password: Password,
    /// Email address, if any.
    pub email: Option<EmailAddress>,
    /// Django's `is_staff`: the user may use the admin site.
    pub is_staff: bool,
}

/// Failure of an operator's command on a user.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Failure of a store or of the hasher.
    #[error(transparent)]
    Failed(#[from] Error),
    /// No user has this name.
    #[error("there is no user {0}")]
    NotFound(String),
    /// Name or address is taken by another user.
    #[error("{0}")]
    Taken(InsertUserError),
}

/// Users and their sessions, for operators.
pub struct UserAdmin {
    /// Actor of the audit events.
    pub actor: Actor,
    /// Store of the audit events that are not written together with a row.
    pub audit: Arc<dyn AuditStore>,
    /// Clock of this process.
    pub clock: Arc<dyn Clock>,
    /// Password hasher.
    pub hasher: Hasher,
    /// Revocations.
    pub revocation: Revocation,
    /// Session store.
    pub sessions: Arc<dyn SessionStore>,
    /// User store.
    pub users: Arc<dyn UserStore>,
}

impl UserAdmin {
    /// Returns true if there is any user.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn any(&self) -> Result<bool, Error> {
        Ok(self.users.any().await?)
    }

    /// Creates a user.
    ///
    /// # Errors
    /// [`AccountError::Taken`].
    pub async fn create(&self, registration: Registration) -> Result<User, AccountError> {
        let password_hash = self
            .hasher
            .hash(registration.password)
            .await
            .map_err(Error::from)?;
        let new = NewUser {
            id: random::user_id(),
            username: registration.username.into_inner(),
            email: registration.email,
            password_hash,
            is_staff: registration.is_staff,
            created_at: self.clock.now(),
        };
        let audit = self.event(EventKind::UserCreated).of_user(&new.id);
        self.users
            .insert(new, audit)
            .await
            .map_err(|error| match error {
                InsertUserError::Store(error) => AccountError::Failed(error.into()),
                taken => AccountError::Taken(taken),
            })
    }

    /// Returns the user of this name, ignoring case.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn find(&self, username: &Username) -> Result<User, AccountError> {
        let found = self
            .users
            .find_by_username(username)
            .await
            .map_err(Error::from)?;
        found.ok_or_else(|| not_found(username))
    }

    /// Returns the user of this name, or else the user with this id.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn find_any(&self, name_or_id: &Username) -> Result<User, AccountError> {
        match self.find(name_or_id).await {
            Err(AccountError::NotFound(_)) => {
                let found = self
                    .users
                    .find_by_id(&UserId::new(name_or_id.as_str()))
                    .await
                    .map_err(Error::from)?;
                found.ok_or_else(|| not_found(name_or_id))
            }
            found => found,
        }
    }

    /// Changes name, address or staff status. Returns the user and the names of the changed fields.
    /// Sessions continue.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`AccountError::Taken`].
    pub async fn update(
        &self,
        username: &Username,
        changes: &UserChanges,
    ) -> Result<(User, Vec<&'static str>), AccountError> {
        let user = self.find(username).await?;
        let fields = changes.fields(&user);
        if fields.is_empty() {
            return Ok((user, fields));
        }
        // The values are personal data, so only the names of the fields go to the trail.
        let audit = self
            .event(EventKind::UserUpdated)
            .of_user(&user.id)
            .with("fields", fields.join(","));
        let changed =
            self.users
                .update(&user.id, changes, audit)
                .await
                .map_err(|error| match error {
                    InsertUserError::Store(error) => AccountError::Failed(error.into()),
                    taken => AccountError::Taken(taken),
                })?;
        Ok((changed.ok_or_else(|| not_found(username))?, fields))
    }

    /// Returns all users, ordered by id.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn list(&self) -> Result<Vec<User>, Error> {
        let mut all: Vec<User> = Vec::new();
        loop {
            let page = self
                .users
                .list(all.last().map(|user| &user.id), PAGE)
                .await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// Activates or deactivates the user. Either revokes all sessions of the user.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn set_active(
        &self,
        username: &Username,
        active: bool,
    ) -> Result<User, AccountError> {
        let user = self.find(username).await?;
        let revoke_all = self.revoke_all(user.id, if active { "activated" } else { "deactivated" });
        let changed = self
            .users
            .set_active(&revoke_all, active)
            .await
            .map_err(Error::from)?;
        self.revoked_all(username, changed).await
    }

    /// Sets a new password and revokes all sessions of the user.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn set_password(
        &self,
        username: &Username,
        password: Password,
    ) -> Result<User, AccountError> {
        let user = self.find(username).await?;
        let hash = self.hasher.hash(password).await.map_err(Error::from)?;
        let revoke_all = self.revoke_all(user.id, "password_changed");
        let changed = self
            .users
            .set_password(&revoke_all, &hash)
            .await
            .map_err(Error::from)?;
        self.revoked_all(username, changed).await
    }

    /// Revokes all sessions of the user.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn sign_out(&self, username: &Username) -> Result<User, AccountError> {
        let user = self.find(username).await?;
        let revoke_all = self.revoke_all(user.id, "signed_out_everywhere");
        let changed = self
            .users
            .revoke_all_sessions(&revoke_all, None)
            .await
            .map_err(Error::from)?;
        self.revoked_all(username, changed).await
    }

    /// Deletes the user and all sessions of the user.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn delete(&self, username: &Username) -> Result<User, AccountError> {
        let user = self.find(username).await?;
        let revoke_all = self.revoke_all(user.id.clone(), "deleted");
        let version = self.users.delete(&revoke_all).await.map_err(Error::from)?;
        let version = version.ok_or_else(|| not_found(username))?;
        self.revocation.record_epoch(&user.id, version).await;
        Ok(user)
    }

    /// Returns the live sessions of a user, newest first.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn sessions(&self, username: &Username) -> Result<Vec<Session>, AccountError> {
        let user = self.find(username).await?;
        Ok(self
            .sessions
            .list_live(&user.id, self.clock.now())
            .await
            .map_err(Error::from)?)
    }

    /// Revokes one session. Returns true if this call revoked it, false if it was revoked before,
    /// and `None` if it does not exist.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn end_session(&self, id: SessionId) -> Result<Option<bool>, Error> {
        let (now, reason) = (self.clock.now(), RevokedReason::Operator);
        let audit = self
            .event(EventKind::SessionRevoked)
            .of_session(id)
            .with_cause(reason.as_str());
        Ok(self
            .revocation
            .revoke(Revoke {
                id,
                of: None,
                reason,
                now,
                audit,
            })
            .await?)
    }

    /// Revokes all sessions of all users, and returns the number of users. `progress` is called
    /// after each page with the number so far.
    ///
    /// This is also the last step of restoring a backup, which lacks the latest revocations. The
    /// session epochs therefore rise by more than they can have risen since the backup.
    ///
    /// # Errors
    /// [`Error::Unavailable`]. Finished pages keep their effect; a repeated call does the remaining
    /// ones.
    pub async fn revoke_all_users(&self, mut progress: impl FnMut(usize)) -> Result<usize, Error> {
        let audit = self
            .event(EventKind::AllUsersSignedOut)
            .with_cause("signed_out_everywhere");
        self.audit.append(&[(audit, 1)]).await?;
        let (mut after, mut count) = (None, 0);
        loop {
            let page = self
                .users
                .bump_epochs(self.clock.now(), EPOCH_STEP, after.as_ref(), PAGE)
                .await?;
            if page.is_empty() {
                return Ok(count);
            }
            self.revocation.record_epochs(&page).await;
            count += page.len();
            progress(count);
            after = page.into_iter().next_back().map(|(id, _)| id);
        }
    }

    fn event(&self, kind: EventKind) -> AuditEvent {
        AuditEvent::new(self.clock.now(), kind, self.actor.clone())
    }

    fn revoke_all(&self, id: UserId, cause: &'static str) -> RevokeAll {
        let audit = self
            .event(EventKind::AllSessionsRevoked)
            .with_cause(cause)
            .of_user(&id);
        RevokeAll {
            id,
            now: self.clock.now(),
            audit,
        }
    }

    async fn revoked_all(
        &self,
        username: &Username,
        changed: Option<User>,
    ) -> Result<User, AccountError> {
        let user = changed.ok_or_else(|| not_found(username))?;
        self.revocation
            .record_epoch(&user.id, user.session_epoch)
            .await;
        Ok(user)
    }
}

fn not_found(username: &Username) -> AccountError {
    AccountError::NotFound(username.as_str().to_owned())
}
