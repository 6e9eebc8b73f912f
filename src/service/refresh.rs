//! Rotation: simplejwt's `TokenRefreshView`, and what it leaves open (RFC 9700, section 4.14.2).

use std::sync::Arc;

use latchkey_verifier::Checked;

use super::{
    Auth, Client, Error, TokenPair,
    audit::View,
    sampled::Sampled,
    tokens::{blacklisted, ended, known, unissued},
};
use crate::{
    crypto::random,
    domain::{
        audit::{Actor, AuditEvent, EventKind, Origin},
        session::{Grace, Session, SessionState, Standing},
        time::{Moment, storable},
    },
    ports::{Rotation, TokenRef},
};

static REPEATED: Sampled = Sampled::new();

impl Auth {
    /// Exchanges a refresh token.
    ///
    /// Two tabs, A and B, send the same token of generation 4 at once. One of the two conditional writes changes the
    /// row: say A's. A gets generation 5. B's write changed nothing, so B reads the row and finds itself one
    /// generation behind, moments after the rotation: it gets generation 5 too, the same bytes. A thief C who sends
    /// generation 4 later finds the window closed, or finds generation 6: the session dies, with its access tokens.
    ///
    /// # Errors
    /// [`Error::Token`], [`Error::NoActiveAccount`], [`Error::Overloaded`], [`Error::Unavailable`].
    pub async fn refresh(self: &Arc<Self>, token: &str, client: Client) -> Result<TokenPair, Error> {
        let now = storable(self.parts.clock.now());
        let checked = self.check(token, now)?;
        let admitted = self.admit(&checked, &client).await?;
        self.to_the_end(admitted, async move |auth| {
            let outcome = auth.refresh_checked(&checked, &client, now).await;
            auth.noted(View::Refresh, &checked, &client, now, outcome)
        })
        .await
    }

    async fn refresh_checked(&self, checked: &Checked, client: &Client, now: Moment) -> Result<TokenPair, Error> {
        let (token, generation) = self.check_refresh(checked, now).await?;
        if !self.parts.rules.rotate {
            return Box::pin(self.refresh_without_rotation(&token, generation, client, now)).await;
        }
        let Origin { ip, user_agent } = client.origin();
        let rotation = Rotation {
            id: token.session,
            user: token.user.clone(),
            version: token.version,
            generation,
            ip,
            user_agent,
        };
        if let Some(state) = self.parts.sessions.rotate(rotation, &self.parts.clock).await? {
            self.parts.metrics.rotations.inc();
            if self.parts.rules.grace != Grace::Endless {
                self.parts.revocation.mark_rotated(&state.session);
            }
            return self.issue_for(&state, state.session.rotated_at, EventKind::Refreshed, client);
        }
        Box::pin(self.explain(&token, generation, client, now)).await
    }

    /// Why nothing was rotated, and what follows from it.
    async fn explain(
        &self,
        token: &TokenRef,
        generation: u32,
        client: &Client,
        now: Moment,
    ) -> Result<TokenPair, Error> {
        let state = known(self.parts.sessions.find(token.session).await?, token)?;
        match state.standing(generation, now, self.parts.rules.grace) {
            Standing::Grace => {
                if let Some(suppressed) = REPEATED.due() {
                    let (session, cause) = (token.session, "reuse_in_grace");
                    tracing::info!(%session, cause, suppressed, "the same successor was given again");
                }
                self.parts.metrics.grace_hits.inc();
                self.issue_for(&state, now.max(state.session.rotated_at), EventKind::RefreshRepeated, client)
            }
            Standing::Spent => {
                self.end_by_reuse(token, generation, &state.session, client, now).await?;
                Err(blacklisted("reuse"))
            }
            Standing::Revoked(reason) => {
                self.parts.revocation.mark_over(&state, now).await;
                Err(blacklisted(reason.as_str()))
            }
            Standing::CutOff => {
                self.parts.revocation.mark_over(&state, now).await;
                Err(blacklisted("cut_off"))
            }
            Standing::NoActiveUser => {
                self.parts.revocation.mark_over(&state, now).await;
                Err(Error::NoActiveAccount)
            }
            Standing::Ended => Err(ended()),
            Standing::Unissued => Err(unissued()),
            // What stood in the way is gone again: the user was activated in between, say, or the database was so late that
            // it let the statement be. The token is unspent. The database is asked for its time again, in case that its
            // clock was set.
            Standing::Current => {
                let _ = self.parts.sessions.ping().await;
                Err(Error::Unavailable("the session changed meanwhile".to_owned()))
            }
        }
    }

    /// simplejwt's `ROTATE_REFRESH_TOKENS = False`: only an access token, and the row stays as it is.
    async fn refresh_without_rotation(
        &self,
        token: &TokenRef,
        generation: u32,
        client: &Client,
        now: Moment,
    ) -> Result<TokenPair, Error> {
        let state = known(self.parts.sessions.find(token.session).await?, token)?;
        match (state.standing(generation, now, self.parts.rules.grace), &state.user) {
            (Standing::Current | Standing::Grace, Some(user)) => {
                let jti = random::jti();
                self.tell_refresh(&state.session, EventKind::Refreshed, &jti, client, now);
                Ok(TokenPair { access: self.issue_access(&state.session, user, now, jti)?, refresh: None })
            }
            _ => self.explain(token, generation, client, now).await,
        }
    }

    fn issue_for(
        &self,
        state: &SessionState,
        now: Moment,
        what: EventKind,
        client: &Client,
    ) -> Result<TokenPair, Error> {
        let (session, jti) = (&state.session, random::jti());
        let user = state.user.as_ref().ok_or(Error::NoActiveAccount)?;
        self.tell_refresh(session, what, &jti, client, now);
        self.issue(session, user, now, jti)
    }

    fn tell_refresh(&self, session: &Session, what: EventKind, jti: &str, client: &Client, now: Moment) {
        if self.parts.rules.audit_refreshes || what != EventKind::Refreshed {
            let event = AuditEvent::new(now, what, Actor::User).of_user(&session.user_id).of_session(session.id);
            let event = event.of_token(jti).from(&client.origin());
            self.parts.audit.record(event.with("generation", session.generation.to_string()));
        }
    }
}
