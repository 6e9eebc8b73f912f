//! Users.

use super::{
    email::EmailAddress, ids::UserId, password::PasswordHash, time::Moment, username::Username,
    visible,
};

/// User account.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// User id, as in tokens.
    pub id: UserId,
    /// Username as displayed. It is unique, ignoring case.
    pub username: String,
    /// Email address, or empty.
    pub email: String,
    /// First name, or empty.
    pub first_name: String,
    /// Last name, or empty.
    pub last_name: String,
    /// False for a user that cannot sign in and has no valid tokens.
    pub is_active: bool,
    /// Django's `is_staff`: the user may use the admin site.
    pub is_staff: bool,
    /// Session epoch. Tokens with a lower `ver` are revoked.
    pub session_epoch: u32,
    /// Time of creation.
    pub created_at: Moment,
    /// Time of the last sign-in.
    pub last_login: Option<Moment>,
}

/// User to be created.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// User id.
    pub id: UserId,
    /// Username.
    pub username: Username,
    /// Email address, if any.
    pub email: Option<EmailAddress>,
    /// Password hash.
    pub password_hash: PasswordHash,
    /// Django's `is_staff`: the user may use the admin site.
    pub is_staff: bool,
    /// Time of creation.
    pub created_at: Moment,
}

/// Maximum length of a first or last name in characters, as in Django.
const MAX_NAME: usize = 150;

/// First or last name, or empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PersonName(String);

/// Reason for which a name is not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PersonNameError {
    /// Contains a control character or an invisible one.
    #[error("a name without control characters and invisible characters")]
    Hidden,
    /// More than `MAX_NAME` characters.
    #[error("a name of up to {MAX_NAME} characters")]
    TooLong,
}

impl PersonName {
    /// Parses a name, without surrounding spaces.
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

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Changes of a user that keep the sessions. `None` leaves a field unchanged.
#[derive(Clone, Debug, Default)]
pub struct UserChanges {
    /// Email address. `Some(None)` removes it.
    pub email: Option<Option<EmailAddress>>,
    /// First name.
    pub first_name: Option<PersonName>,
    /// Last name.
    pub last_name: Option<PersonName>,
    /// Django's `is_staff`: the user may use the admin site.
    pub is_staff: Option<bool>,
}

impl UserChanges {
    /// Returns the names of the fields whose new values differ from the user's.
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
