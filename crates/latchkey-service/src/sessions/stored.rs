//! Sessions in the database, and their entries in the blacklist.

use std::sync::Arc;

use super::refusal::error_of;
use crate::{Error, Metrics, Revocation, TokenDetail};
use latchkey_domain::{
    decision::{Purpose, Refused},
    ports::{Revoke, SessionStore, TokenRef},
    session::{ReuseGrace, SessionState, TokenStatus},
    time::Moment,
};

/// Sessions in the database, and their entries in the blacklist.
pub(crate) struct StoredSessions {
    pub(crate) grace: ReuseGrace,
    pub(crate) metrics: Metrics,
    pub(crate) revocation: Arc<Revocation>,
    pub(crate) store: Arc<dyn SessionStore>,
}

impl StoredSessions {
    /// Returns the state of the session that the token belongs to.
    pub(super) async fn find(&self, token: &TokenRef) -> Result<SessionState, Error> {
        matching(self.store.find(token.session).await?, token)
    }

    /// Returns the status of a refresh token.
    pub(super) fn status(&self, state: &SessionState, generation: u32, now: Moment) -> TokenStatus {
        state.token_status(generation, now, self.grace)
    }

    /// Returns the error of a refused token. Writes the blacklist entry of a revocation again
    /// first, so that other instances refuse the token before the client receives the response.
    pub(super) async fn refuse(
        &self,
        purpose: Purpose,
        refused: Refused,
        state: &SessionState,
        now: Moment,
    ) -> Error {
        if refused.has_entry() {
            self.revocation.record_over(state, now).await;
        }
        error_of(purpose, refused, state)
    }

    /// Ends a session. Returns true if this call ended it.
    pub(super) async fn end(&self, mut revoke: Revoke) -> Result<bool, Error> {
        let reason = revoke.reason;
        revoke.audit = revoke
            .audit
            .of_session(revoke.id)
            .with_cause(reason.as_str());
        let ended = self.revocation.revoke(revoke).await?;
        let by_us = ended == Some(true);
        self.metrics.count_revoked(reason, usize::from(by_us));
        Ok(by_us)
    }
}

/// Returns the state if the session exists and matches the token. A signed token without a session
/// indicates a leaked key or a restored database.
pub(super) fn matching(
    state: Option<SessionState>,
    token: &TokenRef,
) -> Result<SessionState, Error> {
    match state {
        Some(state)
            if state.session.user_id == token.user
                && state.session.session_epoch == token.session_epoch =>
        {
            Ok(state)
        }
        _ => Err(Error::token(TokenDetail::Invalid, "unknown_session")),
    }
}
