//! Refusal of a token by the status of its session, in any view.

use crate::{
    Auth, Error, TokenDetail,
    tokens::{blacklisted, ended, unknown_generation},
};
use latchkey_domain::{
    decision::{Purpose, Refused},
    session::SessionState,
    time::Moment,
};

impl Auth {
    /// Returns the error of a refused token. Writes the blacklist entry of a revocation again first,
    /// so that other instances refuse the token before the client hears of it.
    pub(crate) async fn refuse(
        &self,
        purpose: Purpose,
        refused: Refused,
        state: &SessionState,
        now: Moment,
    ) -> Error {
        if refused.has_entry() {
            self.parts.revocation.record_over(state, now).await;
        }
        error_of(purpose, refused, state)
    }
}

/// Returns the error, in simplejwt's terms.
pub(crate) fn error_of(purpose: Purpose, refused: Refused, state: &SessionState) -> Error {
    match (refused, purpose) {
        (Refused::Revoked(reason), _) => blacklisted(reason.as_str()),
        (Refused::StaleEpoch, _) => blacklisted("cut_off"),
        (Refused::Ended, _) => ended(),
        (Refused::UnknownGeneration, _) => unknown_generation(),
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
