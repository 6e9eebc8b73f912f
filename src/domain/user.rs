//! Users.

use super::{
    email::EmailAddress, ids::UserId, password::PasswordHash, time::Moment, username::Username,
    visible,
};

/// Who signs in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// What tokens carry.
    pub id: UserId,
    /// As it is shown; unique without regard to case.
    pub username: String,
    /// Empty when there is none.
    pub email: String,
    /// Empty when unknown.
    pub first_name: String,
    /// Empty when unknown.
    pub last_name: String,
    /// An inactive user cannot sign in, and holds nothing that is valid.
    pub is_active: bool,
    /// Django's mark for people who may use the admin.
    pub is_staff: bool,
    /// The cut-off counter: tokens with a smaller `ver` are dead.
    pub session_epoch: u32,
    /// When the user was made.
    pub created_at: Moment,
    /// When the user last signed in with a password.
    pub last_login: Option<Moment>,
}

/// A user who is to be made.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// The id to give.
    pub id: UserId,
    /// The name to sign in with.
    pub username: Username,
    /// An address, if any.
    pub email: Option<EmailAddress>,
    /// The hash to check passwords against.
    pub password_hash: PasswordHash,
    /// Django's mark for people who may use the admin.
    pub is_staff: bool,
    /// Now.
    pub created_at: Moment,
}

/// The longest first or last name in characters, as in Django.
const MAX_NAME: usize = 150;

/// A first or last name; empty when unknown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PersonName(String);

/// Why a name was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PersonNameError {
    /// A control character, or one that cannot be seen.
    #[error("a name without control characters and invisible characters")]
    Hidden,
    /// More than `MAX_NAME` characters.
    #[error("a name of up to {MAX_NAME} characters")]
    TooLong,
}

impl PersonName {
    /// Returns a name without the spaces around it.
    ///
    /// # Errors
    /// [`PersonNameError`].
    pub fn parse(text: &str) -> Result<Self, PersonNameError> {
        let text = text.trim();
        if text.chars().count() > MAX_NAME {
            return Err(PersonNameError::TooLong);
        }
        if text.chars().any(visible::is_hidden) {
            return Err(PersonNameError::Hidden);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Changes of a user that end no session. `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct UserChanges {
    /// The address; `Some(None)` removes it.
    pub email: Option<Option<EmailAddress>>,
    /// The first name.
    pub first_name: Option<PersonName>,
    /// The last name.
    pub last_name: Option<PersonName>,
    /// Django's mark for people who may use the admin.
    pub is_staff: Option<bool>,
}

impl UserChanges {
    /// Returns the names of the fields that differ from the user's.
    #[must_use]
    pub fn fields(&self, user: &User) -> Vec<&'static str> {
        let address =
            |email: &Option<EmailAddress>| email.as_ref().map(|email| email.as_str().to_owned());
        let differs = [
            (
                "email",
                self.email
                    .as_ref()
                    .is_some_and(|email| address(email).unwrap_or_default() != user.email),
            ),
            (
                "first_name",
                self.first_name
                    .as_ref()
                    .is_some_and(|name| name.as_str() != user.first_name),
            ),
            (
                "last_name",
                self.last_name
                    .as_ref()
                    .is_some_and(|name| name.as_str() != user.last_name),
            ),
            (
                "is_staff",
                self.is_staff.is_some_and(|staff| staff != user.is_staff),
            ),
        ];
        differs
            .into_iter()
            .filter_map(|(field, differs)| differs.then_some(field))
            .collect()
    }
}
