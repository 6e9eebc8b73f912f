//! Token verification: simplejwt's `TokenVerifyView`.

use latchkey_verifier::{Checked, Kind};

use crate::{
    Auth, ClientInfo, Error,
    admission::Admitted,
    audit::View,
    refusal::error_of,
    reuse::{Call, Presented},
    tokens::{blacklisted, matching_session, token_ref},
};
use latchkey_domain::{
    decision::{Decision, Purpose},
    ports::{Lookup, TokenRef},
    session::ReuseGrace,
    time::truncate_to_micros,
};

impl Auth {
    /// Verifies a token of either kind. The order of checks is that of simplejwt: signature and
    /// times, the blacklist, the required claims.
    ///
    /// # Errors
    /// [`Error::Token`]. [`Error::Unavailable`] if the token needs the database and it is
    /// unavailable. This is the case for valid refresh tokens, because the blacklist can only
    /// prove that they are not valid.
    pub async fn verify(&self, token: &str, client: &ClientInfo) -> Result<(), Error> {
        let now = truncate_to_micros(self.parts.clock.now());
        let checked = self.verify_cached(token, now)?;
        let outcome = self
            .verify_checked(
                &checked,
                Call {
                    view: View::Verify,
                    client,
                    now,
                },
            )
            .await;
        self.record_refusal(View::Verify, &checked, client, now, outcome)
    }

    async fn verify_checked(&self, checked: &Checked, call: Call<'_>) -> Result<(), Error> {
        let required = checked
            .require_identity(self.parts.keys.policy())
            .map_err(Error::from);
        match token_ref(checked) {
            Ok(token) => {
                self.check_revocation(&token, checked.kind(), call).await?;
                required
            }
            Err(invalid) => required.and(Err(invalid)),
        }
    }

    /// Checks in the blacklist or the database that the token is not revoked, of a stale epoch, or
    /// spent.
    pub(crate) async fn check_revocation(
        &self,
        token: &TokenRef,
        kind: Kind,
        call: Call<'_>,
    ) -> Result<(), Error> {
        match self.parts.revocation.check(token).await {
            Lookup::Revoked => Err(blacklisted("revoked")),
            Lookup::StaleEpoch => Err(blacklisted("cut_off")),
            Lookup::Spent if self.parts.rules.grace != ReuseGrace::Unlimited => {
                Err(Box::pin(async {
                    // The token is refused in any case, even if the request is not admitted.
                    let Ok(_admitted) = self.admit_uncached(call, token).await else {
                        return blacklisted("spent");
                    };
                    self.refuse_blacklisted_spent(token, call).await
                })
                .await)
            }
            Lookup::Clear if kind == Kind::Access => Ok(()),
            // Entries of rotations are written behind, so a missing entry proves nothing about a
            // refresh token.
            lookup @ (Lookup::Clear | Lookup::Spent | Lookup::Unknown) => {
                Box::pin(async {
                    let _admitted = self.admit_uncached(call, token).await?;
                    self.check_database(token, lookup != Lookup::Unknown, call)
                        .await
                })
                .await
            }
        }
    }

    /// Admits a request of the verify view, which needs the database only if the blacklist has no
    /// answer. Requests of other views were admitted before.
    async fn admit_uncached(
        &self,
        call: Call<'_>,
        token: &TokenRef,
    ) -> Result<Option<Admitted>, Error> {
        if call.view != View::Verify {
            return Ok(None);
        }
        self.parts
            .admission
            .enter(call.client, Some(token.session))
            .await
            .map(Some)
    }

    /// Checks the token in the database. If the blacklist is `trusted` but lacks the entry of a
    /// revocation, the entry is written.
    async fn check_database(
        &self,
        token: &TokenRef,
        trusted: bool,
        call: Call<'_>,
    ) -> Result<(), Error> {
        let state = matching_session(self.parts.sessions.find(token.session).await?, token)?;
        let grace = self.parts.rules.grace;
        let (generation, status) = match token.generation {
            None => (
                state.session.generation,
                state.access_token_status(token.session_epoch, call.now),
            ),
            Some(generation) => (generation, state.token_status(generation, call.now, grace)),
        };
        match Purpose::Verify.decide(status) {
            Decision::Accept => Ok(()),
            Decision::Spent if grace == ReuseGrace::Unlimited => Ok(()),
            // A spent token is refused even within the grace.
            Decision::Spent => {
                let presented = Presented {
                    token,
                    generation,
                    call,
                };
                let session = &state.session;
                Err(self.refuse_spent(status, session, &presented).await)
            }
            Decision::Refuse(refused) if trusted => Err(self
                .refuse(Purpose::Verify, refused, &state, call.now)
                .await),
            Decision::Refuse(refused) => Err(error_of(Purpose::Verify, refused, &state)),
        }
    }
}
