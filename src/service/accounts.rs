//! What operators do with users: made, changed, signed out. Whatever makes tokens invalid also marks them.

use std::sync::Arc;

use super::{Error, Revocation};
use crate::{
    crypto::{hasher::Hasher, random},
    domain::{
        email::EmailAddress,
        password::Password,
        session::Session,
        user::{NewUser, User},
        username::Username,
    },
    ports::{Clock, InsertUserError, SessionStore, UserStore},
};

/// Users at a time when they are listed.
const PAGE: i64 = 500;

/// A user to be made.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The name to sign in with.
    pub username: Username,
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
pub struct Accounts {
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

impl Accounts {
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
        let password_hash = self.hasher.hash(registration.password).await.map_err(Error::from)?;
        let new = NewUser {
            id: random::user_id(),
            username: registration.username,
            email: registration.email,
            password_hash,
            is_staff: registration.is_staff,
            created_at: self.clock.now(),
        };
        self.users.insert(new).await.map_err(|error| match error {
            InsertUserError::Store(error) => AccountError::Failed(error.into()),
            taken => AccountError::Taken(taken),
        })
    }

    /// The user of this name, without regard to case.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn find(&self, username: &Username) -> Result<User, AccountError> {
        let found = self.users.find_by_username(username).await.map_err(Error::from)?;
        found.ok_or_else(|| not_found(username))
    }

    /// All users, by id.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn list(&self) -> Result<Vec<User>, Error> {
        let mut all: Vec<User> = Vec::new();
        loop {
            let page = self.users.list(all.last().map(|user| &user.id), PAGE).await?;
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
    pub async fn set_active(&self, username: &Username, active: bool) -> Result<User, AccountError> {
        let user = self.find(username).await?;
        let changed = self.users.set_active(&user.id, active, self.clock.now()).await.map_err(Error::from)?;
        self.cut_off_done(username, changed).await
    }

    /// Sets a new password, which ends every session of the user.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn set_password(&self, username: &Username, password: Password) -> Result<User, AccountError> {
        let user = self.find(username).await?;
        let hash = self.hasher.hash(password).await.map_err(Error::from)?;
        let changed = self.users.set_password(&user.id, &hash, self.clock.now()).await.map_err(Error::from)?;
        self.cut_off_done(username, changed).await
    }

    /// Ends every session of the user.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn sign_out(&self, username: &Username) -> Result<User, AccountError> {
        let user = self.find(username).await?;
        let changed = self.users.cut_off(&user.id, self.clock.now()).await.map_err(Error::from)?;
        self.cut_off_done(username, changed).await
    }

    /// Deletes the user, with every session.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn delete(&self, username: &Username) -> Result<User, AccountError> {
        let user = self.find(username).await?;
        let version = self.users.delete(&user.id, self.clock.now()).await.map_err(Error::from)?;
        let version = version.ok_or_else(|| not_found(username))?;
        self.revocation.mark_cut_off(&user.id, version).await;
        Ok(user)
    }

    /// The live sessions of a user, the newest first.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn sessions(&self, username: &Username) -> Result<Vec<Session>, AccountError> {
        let user = self.find(username).await?;
        Ok(self.sessions.list_live(&user.id, self.clock.now()).await.map_err(Error::from)?)
    }

    async fn cut_off_done(&self, username: &Username, changed: Option<User>) -> Result<User, AccountError> {
        let user = changed.ok_or_else(|| not_found(username))?;
        self.revocation.mark_cut_off(&user.id, user.version).await;
        Ok(user)
    }
}

fn not_found(username: &Username) -> AccountError {
    AccountError::NotFound(username.as_str().to_owned())
}
