//! Check of a token in the blacklist, and in the database if the blacklist does not decide.

use std::sync::Arc;

use latchkey_verifier::Kind;

use super::{
    refusal::{blacklisted, error_of},
    request::{TokenRequest, TokenRequests, View},
    reuse::{Presented, ReuseDetection},
    stored::StoredSessions,
};
use crate::{
    Error, Revocation,
    admission::Admitted,
    tokens::reference::{invalid, token_ref},
};
use latchkey_domain::{
    decision::{Decision, Purpose},
    ports::{Lookup, TokenRef},
    session::ReuseGrace,
};

/// Check that a token is not revoked, of a stale epoch, or spent.
pub(crate) struct RevocationCheck {
    pub(crate) requests: Arc<TokenRequests>,
    pub(crate) reuse: Arc<ReuseDetection>,
    pub(crate) revocation: Arc<Revocation>,
    pub(crate) sessions: Arc<StoredSessions>,
}

impl RevocationCheck {
    /// Checks the claims of a refresh token, but not its session. If claims are missing, a
    /// revocation is reported first, as simplejwt does.
    pub(super) async fn refresh_token(
        &self,
        request: &TokenRequest,
    ) -> Result<(TokenRef, u32), Error> {
        let checked = &request.checked;
        if let Err(refusal) = checked.require(Kind::Refresh, self.requests.policy()) {
            if let (Kind::Refresh, Ok(token)) = (checked.kind(), token_ref(checked)) {
                Box::pin(self.check(&token, request)).await?;
            }
            return Err(refusal.into());
        }
        let token = token_ref(checked)?;
        let generation = token.generation.ok_or_else(invalid)?;
        Ok((token, generation))
    }

    /// Checks in the blacklist or the database that the token is not revoked, of a stale epoch, or
    /// spent.
    pub(super) async fn check(
        &self,
        token: &TokenRef,
        request: &TokenRequest,
    ) -> Result<(), Error> {
        match self.revocation.check(token).await {
            Lookup::Revoked => Err(blacklisted("revoked")),
            Lookup::StaleEpoch => Err(blacklisted("cut_off")),
            Lookup::Spent if self.sessions.grace != ReuseGrace::Unlimited => {
                Err(Box::pin(async {
                    // The token is refused in any case, even if the request is not admitted.
                    let Ok(_admitted) = self.admit_uncached(request).await else {
                        return blacklisted("spent");
                    };
                    self.reuse.refuse_blacklisted_spent(token, request).await
                })
                .await)
            }
            Lookup::Clear if request.checked.kind() == Kind::Access => Ok(()),
            // Entries of rotations are written behind, so a missing entry proves nothing about a
            // refresh token.
            lookup @ (Lookup::Clear | Lookup::Spent | Lookup::Unknown) => {
                Box::pin(async {
                    let _admitted = self.admit_uncached(request).await?;
                    self.check_database(token, lookup != Lookup::Unknown, request)
                        .await
                })
                .await
            }
        }
    }

    /// Admits a request of the verify view, which needs the database only if the blacklist has no
    /// answer. Requests of other views were admitted before.
    async fn admit_uncached(&self, request: &TokenRequest) -> Result<Option<Admitted>, Error> {
        if request.view != View::Verify {
            return Ok(None);
        }
        self.requests.admit(request).await.map(Some)
    }

    /// Checks the token in the database. If the blacklist is `trusted` but lacks the entry of a
    /// revocation, the entry is written.
    async fn check_database(
        &self,
        token: &TokenRef,
        trusted: bool,
        request: &TokenRequest,
    ) -> Result<(), Error> {
        let (state, now) = (self.sessions.find(token).await?, request.now);
        let (generation, status) = match token.generation {
            None => (
                state.session.generation,
                state.access_token_status(token.session_epoch, now),
            ),
            Some(generation) => (generation, self.sessions.status(&state, generation, now)),
        };
        let purpose = Purpose::Verify;
        match purpose.decide(status) {
            Decision::Accept => Ok(()),
            Decision::Spent if self.sessions.grace == ReuseGrace::Unlimited => Ok(()),
            // A spent token is refused even within the grace.
            Decision::Spent => {
                let presented = Presented {
                    token,
                    generation,
                    request,
                };
                let session = &state.session;
                Err(self.reuse.refuse_spent(status, session, &presented).await)
            }
            Decision::Refuse(refused) if trusted => {
                Err(self.sessions.refuse(purpose, refused, &state, now).await)
            }
            Decision::Refuse(refused) => Err(error_of(purpose, refused, &state)),
        }
    }
}
