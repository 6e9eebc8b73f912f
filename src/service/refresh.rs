//! Rotation: simplejwt's `TokenRefreshView`, and what it leaves open (RFC 9700, section 4.14.2).

use super::{
    Auth, Client, Error, TokenPair,
    tokens::{blacklisted, ended, known, unissued},
};
use crate::{
    domain::{
        session::{Grace, RevokedReason, SessionState, Standing},
        time::{Moment, storable},
    },
    ports::{Rotation, TokenRef},
};

impl Auth {
    /// Exchanges a refresh token.
    ///
    /// Two tabs, A and B, send the same token of generation 4 at once. One of the two conditional writes changes the
    /// row: say A's. A gets generation 5. B's write changed nothing, so B reads the row and finds itself one
    /// generation behind, moments after the rotation: it gets generation 5 too, the same bytes. A thief C who sends
    /// generation 4 later finds the window closed, or finds generation 6: the session dies, with its access tokens.
    ///
    /// # Errors
    /// [`Error::Token`], [`Error::NoActiveAccount`], [`Error::Unavailable`].
    pub async fn refresh(&self, token: &str, client: Client) -> Result<TokenPair, Error> {
        let now = storable(self.parts.clock.now());
        let (token, generation) = self.check_refresh(token, now).await?;
        if !self.parts.rules.rotate {
            return self.refresh_without_rotation(&token, generation, now).await;
        }
        let rotation = Rotation {
            id: token.session,
            user: token.user.clone(),
            version: token.version,
            generation,
            now,
            ip: client.ip,
            user_agent: client.user_agent,
        };
        if let Some(state) = self.parts.sessions.rotate(rotation).await? {
            if self.parts.rules.grace != Grace::Endless {
                self.parts.revocation.mark_rotated(&state.session).await;
            }
            return self.issue_for(&state, now);
        }
        self.explain(&token, generation, now).await
    }

    /// Why nothing was rotated, and what follows from it.
    async fn explain(&self, token: &TokenRef, generation: u32, now: Moment) -> Result<TokenPair, Error> {
        let state = known(self.parts.sessions.find(token.session).await?, token)?;
        match state.standing(generation, now, self.parts.rules.grace) {
            Standing::Grace => {
                tracing::info!(session = %token.session, cause = "reuse_in_grace", "the same successor was given again");
                self.issue_for(&state, now)
            }
            Standing::Spent => {
                tracing::warn!(
                    session = %token.session, user = %token.user, presented = generation,
                    current = state.session.generation, age = (now - state.session.rotated_at).num_seconds(),
                    cause = "reuse", "a spent refresh token came back: the session is revoked"
                );
                self.parts.revocation.revoke(token.session, RevokedReason::Reuse, now).await?;
                Err(blacklisted("reuse"))
            }
            Standing::Revoked(reason) => {
                self.parts.revocation.mark_revoked(&state.session, now).await;
                Err(blacklisted(reason.as_str()))
            }
            Standing::CutOff => Err(blacklisted("cut_off")),
            Standing::NoActiveUser => Err(Error::NoActiveAccount),
            Standing::Ended => Err(ended()),
            Standing::Unissued => Err(unissued()),
            // What stood in the way is gone again: the user was activated in between, say. The token is unspent.
            Standing::Current => Err(Error::Unavailable("the session changed meanwhile".to_owned())),
        }
    }

    /// simplejwt's `ROTATE_REFRESH_TOKENS = False`: only an access token, and the row stays as it is.
    async fn refresh_without_rotation(
        &self,
        token: &TokenRef,
        generation: u32,
        now: Moment,
    ) -> Result<TokenPair, Error> {
        let state = known(self.parts.sessions.find(token.session).await?, token)?;
        match (state.standing(generation, now, self.parts.rules.grace), &state.user) {
            (Standing::Current | Standing::Grace, Some(user)) => {
                Ok(TokenPair { access: self.issue_access(&state.session, user, now)?, refresh: None })
            }
            _ => self.explain(token, generation, now).await,
        }
    }

    fn issue_for(&self, state: &SessionState, now: Moment) -> Result<TokenPair, Error> {
        let user = state.user.as_ref().ok_or(Error::NoActiveAccount)?;
        self.issue(&state.session, user, now)
    }
}
