//! Errors of tokens that are refused because of their session.

use crate::{Error, TokenDetail};
use latchkey_domain::{
    decision::{Purpose, Refused},
    session::SessionState,
};

/// Returns the error of a refused token, in simplejwt's terms.
pub(super) fn error_of(purpose: Purpose, refused: Refused, state: &SessionState) -> Error {
    match (refused, purpose) {
        (Refused::Revoked(reason), _) => blacklisted(reason.as_str()),
        (Refused::StaleEpoch, _) => blacklisted("cut_off"),
        (Refused::Ended, _) => Error::token(TokenDetail::Expired, "session_ended"),
        (Refused::UnknownGeneration, _) => Error::token(TokenDetail::Invalid, "unknown_generation"),
        (Refused::NoActiveUser, Purpose::Refresh | Purpose::Logout) => Error::NoActiveAccount,
        (Refused::NoActiveUser, Purpose::Verify) => {
            Error::token(TokenDetail::Blacklisted, "user_inactive")
        }
        (Refused::NoActiveUser, Purpose::Authenticate) if state.user.is_none() => {
            Error::UserNotFound
        }
        (Refused::NoActiveUser, Purpose::Authenticate) => Error::UserInactive,
    }
}

pub(super) const fn blacklisted(cause: &'static str) -> Error {
    Error::token(TokenDetail::Blacklisted, cause)
}
