//! Users, for operators.

mod admin;

pub use admin::{AccountError, Registration, UserAdmin};
