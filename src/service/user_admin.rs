//! What operators do with users: made, changed, signed out. Whatever makes tokens invalid also marks them.

use std::sync::Arc;

use super::{Error, Revocation};
use crate::{
    crypto::{hasher::Hasher, random},
    domain::{
        audit::{Actor, AuditEvent, EventKind},
        email::EmailAddress,
        ids::{SessionId, UserId},
        password::Password,
        session::{RevokedReason, Session},
        user::{NewUser, User, UserChanges},
        username::{NewUsername, Username},
    },
    ports::{AuditStore, Clock, InsertUserError, Revoke, RevokeAll, SessionStore, UserStore},
};

/// Users at a time.
const PAGE: i64 = 500;

/// By how much the counters rise when everybody is signed out: more than any user was cut off since a backup.
const EPOCH_STEP: u32 = 1000;

/// A user to be made.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The name to sign in with, which must be allowed for a new account.
    pub username: NewUsername,
    /// The password.
    pub password: Password,
    /// An address, if any.
    pub email: Option<EmailAddress>,
    /// Django's mark for people who may use the admin.
    pub is_staff: bool,
}

/// Why an operator's wish was not fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// A store or the hasher.
    #[error(transparent)]
    Failed(#[from] Error),
    /// No user of that name.
    #[error("there is no user {0}")]
    NotFound(String),
    /// Name or address is taken.
    #[error("{0}")]
    Taken(InsertUserError),
}

/// Users and their sessions, for operators.
pub struct UserAdmin {
    /// Who gives the orders.
    pub actor: Actor,
    /// Where orders are noted that have no row of their own.
    pub audit: Arc<dyn AuditStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Password hashes.
    pub hasher: Hasher,
    /// Dead tokens.
    pub revocation: Revocation,
    /// Sessions.
    pub sessions: Arc<dyn SessionStore>,
    /// Users.
    pub users: Arc<dyn UserStore>,
}

impl UserAdmin {
    /// Whether there is any user.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn any(&self) -> Result<bool, Error> {
        Ok(self.users.any().await?)
    }

    /// Makes a user.
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

    /// The user of this name, without regard to case.
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

    /// The user of this name, or else with this id.
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

    /// Changes name, address or staff mark, and returns the user and the fields that were changed. Sessions go on.
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
        // The values are the user's, and stay out of the trail.
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

    /// All users, by id.
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

    /// Activates or deactivates. Either ends every session of the user.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn set_active(
        &self,
        username: &Username,
        active: bool,
    ) -> Result<User, AccountError> {
        let user = self.find(username).await?;
        let cut_off = self.revoke_all(user.id, if active { "activated" } else { "deactivated" });
        let changed = self
            .users
            .set_active(&cut_off, active)
            .await
            .map_err(Error::from)?;
        self.revoked_all(username, changed).await
    }

    /// Sets a new password, which ends every session of the user.
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
        let cut_off = self.revoke_all(user.id, "password_changed");
        let changed = self
            .users
            .set_password(&cut_off, &hash)
            .await
            .map_err(Error::from)?;
        self.revoked_all(username, changed).await
    }

    /// Ends every session of the user.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn sign_out(&self, username: &Username) -> Result<User, AccountError> {
        let user = self.find(username).await?;
        let cut_off = self.revoke_all(user.id, "signed_out_everywhere");
        let changed = self
            .users
            .revoke_all_sessions(&cut_off, None)
            .await
            .map_err(Error::from)?;
        self.revoked_all(username, changed).await
    }

    /// Deletes the user, with every session.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn delete(&self, username: &Username) -> Result<User, AccountError> {
        let user = self.find(username).await?;
        let cut_off = self.revoke_all(user.id.clone(), "deleted");
        let version = self.users.delete(&cut_off).await.map_err(Error::from)?;
        let version = version.ok_or_else(|| not_found(username))?;
        self.revocation.record_epoch(&user.id, version).await;
        Ok(user)
    }

    /// The live sessions of a user, the newest first.
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

    /// Ends one session. The session, or `None` when there is none of this id; it may have been revoked before.
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

    /// Ends every session of everybody. How many users there are; `progress` hears of it as it goes.
    ///
    /// This is also the last step of restoring a backup, which has forgotten log-outs and cut-offs: the counters rise
    /// by more than they can have risen since.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; what was done stays done, and doing it again does the rest.
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
