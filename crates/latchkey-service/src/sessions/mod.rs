//! Sessions: sign-in, refresh, verification, log-out, and the list of a user's sessions.

pub(crate) mod authenticate;
pub(crate) mod list;
mod logout;
mod refresh;
pub(crate) mod refusal;
pub(crate) mod reuse;
mod run_to_completion;
mod sign_in;
mod verify;
