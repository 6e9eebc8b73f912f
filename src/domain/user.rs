//! Users.

use super::{email::EmailAddress, ids::UserId, password::PasswordHash, time::Moment, username::Username};

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
    pub version: u32,
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
