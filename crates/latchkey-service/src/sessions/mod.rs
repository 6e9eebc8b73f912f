//! Sessions: sign-in, refresh, verification, authentication, log-out, and the list of a user's
//! sessions. Each use case has a file and a struct.

pub(crate) mod authenticate;
pub(crate) mod logout;
pub(crate) mod logout_everywhere;
pub(crate) mod own_sessions;
pub(crate) mod refresh;
pub(crate) mod request;
pub(crate) mod reuse;
pub(crate) mod revocation_check;
pub(crate) mod rules;
pub(crate) mod sign_in;
pub(crate) mod stored;
pub(crate) mod successors;
pub(crate) mod unrotated;
pub(crate) mod verify;

mod limit;
mod refusal;
mod run_to_completion;

pub use self::{
    authenticate::{Authenticate, Caller, Identity},
    logout::LogOut,
    logout_everywhere::LogOutEverywhere,
    own_sessions::{OwnSession, OwnSessions},
    refresh::Refresh,
    rules::{RefreshRules, Rules, SessionRules},
    sign_in::SignIn,
    verify::Verify,
};
