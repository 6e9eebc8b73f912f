//! Users: the check of a password, and management by operators.

mod admin;
mod passwords;

pub use admin::{AccountError, Registration, UserAdmin};
pub(crate) use passwords::PasswordCheck;
