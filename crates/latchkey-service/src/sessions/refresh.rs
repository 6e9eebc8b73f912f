//! Rotation of refresh tokens: simplejwt's `TokenRefreshView`, with reuse detection (RFC 9700,
//! section 4.14.2).

use std::sync::Arc;

use latchkey_verifier::Checked;

use crate::{
    Auth, ClientInfo, Error, TokenPair,
    audit::View,
    reuse::{Call, Presented, with_holder},
    sampled::Sampled,
    tokens::{blacklisted, matching_session},
};
use latchkey_crypto::random;
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind, Origin},
    decision::{Decision, Purpose},
    ports::{Repeat, Rotation},
    reuse::{Consequence, REPEATS},
    session::{ReuseGrace, Session, SessionState, TokenStatus},
    time::{Moment, truncate_to_micros},
};

static REPEATED: Sampled = Sampled::new();

impl Auth {
    /// Exchanges a refresh token.
    ///
    /// Example: two tabs, A and B, send the same token of generation 4 concurrently. Each performs
    /// a conditional write, and only one of them, say A's, changes the row. A receives generation
    /// 5. B's write changes nothing, so B reads the row, finds its token within the reuse grace,
    /// and receives the same token of generation 5. A client C with generation 4 is a reuse if
    /// both its address and its `User-Agent` differ, if the grace is over, or if generation 6
    /// exists. Reuse revokes the session with its access tokens.
    ///
    /// # Errors
    /// [`Error::Token`], [`Error::NoActiveAccount`], [`Error::Overloaded`], [`Error::Unavailable`].
    pub async fn refresh(
        self: &Arc<Self>,
        token: &str,
        client: ClientInfo,
    ) -> Result<TokenPair, Error> {
        let now = truncate_to_micros(self.parts.clock.now());
        let checked = self.verify_token(token, now)?;
        let admitted = self.admit(&checked, &client).await?;
        self.run_to_completion(admitted, async move |auth| {
            let outcome = auth
                .refresh_checked(
                    &checked,
                    Call {
                        view: View::Refresh,
                        client: &client,
                        now,
                    },
                )
                .await;
            auth.record_refusal(View::Refresh, &checked, &client, now, outcome)
        })
        .await
    }

    async fn refresh_checked(&self, checked: &Checked, call: Call<'_>) -> Result<TokenPair, Error> {
        let (token, generation) = self.check_refresh(checked, call).await?;
        let presented = Presented {
            token: &token,
            generation,
            call,
        };
        if !self.parts.rules.rotate {
            return Box::pin(self.refresh_without_rotation(&presented)).await;
        }
        let Origin { ip, user_agent } = call.client.origin();
        let rotation = Rotation {
            id: token.session,
            user: token.user.clone(),
            session_epoch: token.session_epoch,
            generation,
            ip,
            user_agent,
        };
        if let Some(state) = self
            .parts
            .rotations
            .rotate(rotation, &self.parts.clock)
            .await?
        {
            self.parts.metrics.rotations.inc();
            if self.parts.rules.grace != ReuseGrace::Unlimited {
                self.parts.revocation.enqueue_rotated(&state.session);
            }
            let (session, jti) = (&state.session, random::jti());
            self.audit_refresh(session, &jti, call.client, session.rotated_at);
            return self.issue_for(&state, session.rotated_at, jti);
        }
        Box::pin(self.resolve_lost_race(&presented)).await
    }

    /// Determines the reason for which the row was not changed, and responds accordingly.
    async fn resolve_lost_race(&self, presented: &Presented<'_>) -> Result<TokenPair, Error> {
        let state = matching_session(
            self.parts.sessions.find(presented.token.session).await?,
            presented.token,
        )?;
        self.resolve_status(&state, presented).await
    }

    async fn resolve_status(
        &self,
        state: &SessionState,
        presented: &Presented<'_>,
    ) -> Result<TokenPair, Error> {
        let (session, now) = (&state.session, presented.call.now);
        let status = state.token_status(presented.generation, now, self.parts.rules.grace);
        match Purpose::Refresh.decide(status) {
            Decision::Refuse(refused) => {
                Err(self.refuse(Purpose::Refresh, refused, state, now).await)
            }
            Decision::Spent => {
                match self.consequence(Purpose::Refresh, status, session, presented) {
                    Consequence::Successor => self.repeat(state, presented),
                    Consequence::CountedSuccessor => self.repeat_counted(state, presented).await,
                    Consequence::Logout | Consequence::Refusal | Consequence::Reuse => {
                        self.end_by_reuse(presented, session, None).await?;
                        Err(blacklisted("reuse"))
                    }
                }
            }
            // The token is unspent: the obstacle of the statement no longer exists. For example, the
            // user was activated in between, or the database delayed the statement. A ping reads
            // the time of the database again, in case its clock was set.
            Decision::Accept => {
                let _ = self.parts.sessions.ping().await;
                Err(Error::Unavailable(
                    "the session changed meanwhile".to_owned(),
                ))
            }
        }
    }

    /// Issues the same successor again.
    fn repeat(&self, state: &SessionState, presented: &Presented<'_>) -> Result<TokenPair, Error> {
        let (session, Call { client, now, .. }) = (&state.session, presented.call);
        let (kind, difference) = self.repeated(session, presented);
        let elsewhere = kind == EventKind::RefreshRepeatedElsewhere;
        if let Some(suppressed) = REPEATED.due() {
            tracing::info!(
                session = %session.id, cause = "reuse_in_grace", differs = difference.as_str(), suppressed,
                "same successor issued again"
            );
        }
        self.parts.metrics.grace_hits.inc();
        self.parts
            .metrics
            .grace_hits_other_client
            .inc_by(u64::from(elsewhere));
        let jti = random::jti();
        let actor = if elsewhere {
            Actor::Client
        } else {
            Actor::User
        };
        let mut event = AuditEvent::new(now.max(session.rotated_at), kind, actor)
            .of_user(&session.user_id)
            .of_session(session.id)
            .of_token(&*jti)
            .from(&client.origin())
            .with("generation", session.generation.to_string());
        if elsewhere {
            event = with_holder(event.with("differs", difference.as_str()), session);
        }
        self.parts.audit.record(event);
        self.issue_for(state, now.max(session.rotated_at), jti)
    }

    /// Issues the same successor again to a client that differs from the holder, up to the limit of
    /// repeats.
    async fn repeat_counted(
        &self,
        state: &SessionState,
        presented: &Presented<'_>,
    ) -> Result<TokenPair, Error> {
        let session = &state.session;
        let repeat = Repeat {
            id: session.id,
            generation: session.generation,
            limit: REPEATS,
        };
        if self.parts.sessions.count_repeat(repeat).await? {
            return self.repeat(state, presented);
        }
        let after = matching_session(self.parts.sessions.find(session.id).await?, presented.token)?;
        if after.session.generation == session.generation && after.session.revoked.is_none() {
            self.end_by_reuse(presented, session, Some(REPEATS)).await?;
            return Err(blacklisted("reuse"));
        }
        // The session was rotated or revoked meanwhile, so the grace is over.
        Box::pin(self.resolve_status(&after, presented)).await
    }

    /// Issues only an access token and leaves the row unchanged, like simplejwt with
    /// `ROTATE_REFRESH_TOKENS = False`.
    async fn refresh_without_rotation(
        &self,
        presented: &Presented<'_>,
    ) -> Result<TokenPair, Error> {
        let Call { client, now, .. } = presented.call;
        let state = matching_session(
            self.parts.sessions.find(presented.token.session).await?,
            presented.token,
        )?;
        match (
            state.token_status(presented.generation, now, self.parts.rules.grace),
            &state.user,
        ) {
            (TokenStatus::Current | TokenStatus::Grace, Some(user)) => {
                let jti = random::jti();
                self.audit_refresh(&state.session, &jti, client, now);
                Ok(TokenPair {
                    access: self.issue_access(&state.session, user, now, jti)?,
                    refresh: None,
                })
            }
            _ => self.resolve_status(&state, presented).await,
        }
    }

    fn issue_for(
        &self,
        state: &SessionState,
        now: Moment,
        jti: String,
    ) -> Result<TokenPair, Error> {
        let user = state.user.as_ref().ok_or(Error::NoActiveAccount)?;
        self.issue(&state.session, user, now, jti)
    }

    fn audit_refresh(&self, session: &Session, jti: &str, client: &ClientInfo, now: Moment) {
        if self.parts.rules.audit_refreshes {
            let event = AuditEvent::new(now, EventKind::Refreshed, Actor::User);
            let event = event
                .of_user(&session.user_id)
                .of_session(session.id)
                .of_token(jti)
                .from(&client.origin());
            self.parts
                .audit
                .record(event.with("generation", session.generation.to_string()));
        }
    }
}
