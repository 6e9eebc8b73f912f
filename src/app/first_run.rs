//! The first user of an embedded database: there is no default password, there is a random one, told once.

use secrecy::SecretString;

use super::StartError;
use crate::{
    crypto::random,
    domain::{password::Password, username::Username},
    service::{
        Error,
        accounts::{AccountError, Accounts, Registration},
    },
};

/// A user who was made because there was none.
pub struct FirstUser {
    /// The name to sign in with.
    pub username: &'static str,
    /// Kept nowhere else.
    pub password: SecretString,
}

const NAME: &str = "admin";

pub(super) async fn admin(accounts: &Accounts) -> Result<Option<FirstUser>, StartError> {
    if accounts.any().await? {
        return Ok(None);
    }
    let internal = |reason: &dyn std::fmt::Display| Error::Internal(reason.to_string());
    let password = random::password().map_err(|error| internal(&error))?;
    let registration = Registration {
        username: Username::parse_new(NAME).map_err(|error| internal(&error))?,
        password: Password::parse_new(password.clone()).map_err(|error| internal(&error))?,
        email: None,
        is_staff: true,
    };
    match accounts.create(registration).await {
        Ok(_) => Ok(Some(FirstUser { username: NAME, password: password.into() })),
        // Another process that started at the same moment was first, and has told its password.
        Err(AccountError::Taken(_)) => Ok(None),
        Err(AccountError::Failed(error)) => Err(error.into()),
        Err(error @ AccountError::NotFound(_)) => Err(internal(&error).into()),
    }
}
