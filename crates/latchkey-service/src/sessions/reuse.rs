//! Detection of refresh token reuse, in all views. The rules are in `decision.rs` and `reuse.rs` of
//! `latchkey-domain`.

use std::sync::Arc;

use super::{
    refusal::blacklisted,
    request::TokenRequest,
    run_to_completion::run_as_task,
    stored::{StoredSessions, matching},
};
use crate::{Error, sampled::Sampled, tokens::reference::token_ref};
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind},
    decision::Purpose,
    ports::{Revoke, TokenRef},
    reuse::{ClientBinding, Consequence, Difference},
    session::{RevokedReason, Session, SessionState, TokenStatus},
};

static REUSE: Sampled = Sampled::new();

/// Refresh token in a request.
#[derive(Clone, Copy)]
pub(super) struct Presented<'a> {
    pub token: &'a TokenRef,
    pub generation: u32,
    pub request: &'a TokenRequest,
}

impl Presented<'_> {
    /// Returns the difference between the sender and the client of the last rotation.
    pub(super) fn difference(&self, session: &Session) -> Difference {
        Difference::between(session, &self.request.client.origin())
    }
}

/// Detection of refresh token reuse, and its consequence.
pub(crate) struct ReuseDetection {
    pub(crate) binding: ClientBinding,
    pub(crate) sessions: Arc<StoredSessions>,
}

impl ReuseDetection {
    /// Returns the consequence of a token with the status [`TokenStatus::Grace`] or
    /// [`TokenStatus::Spent`].
    pub(super) fn consequence(
        &self,
        purpose: Purpose,
        status: TokenStatus,
        session: &Session,
        presented: &Presented<'_>,
    ) -> Consequence {
        purpose.consequence(
            status == TokenStatus::Grace,
            presented.difference(session),
            self.binding,
        )
    }

    /// Refuses a spent token in a view that returns no successor. If the client differs from the
    /// holder in both address and `User-Agent`, the session is revoked. Otherwise a thief could
    /// find out without risk if the owner has refreshed.
    ///
    /// The token is refused in any case, so a failed revocation does not change the response.
    pub(super) async fn refuse_spent(
        &self,
        status: TokenStatus,
        session: &Session,
        presented: &Presented<'_>,
    ) -> Error {
        if self.consequence(Purpose::Verify, status, session, presented) != Consequence::Reuse {
            return blacklisted("spent");
        }
        match self.end_session(presented, session, None).await {
            Ok(()) => blacklisted("reuse"),
            Err(error) => {
                tracing::warn!(session = %session.id, %error, "session not revoked after token reuse");
                blacklisted("spent")
            }
        }
    }

    /// Like [`Self::refuse_spent`], for a token that is spent according to the blacklist. One
    /// database query finds the holder. The token is refused regardless of the result, even if the
    /// database is unavailable.
    pub(super) async fn refuse_blacklisted_spent(
        &self,
        token: &TokenRef,
        request: &TokenRequest,
    ) -> Error {
        let Some(generation) = token
            .generation
            .filter(|_| self.binding == ClientBinding::Client)
        else {
            return blacklisted("spent");
        };
        let Some(state) = self.state_of(token).await else {
            return blacklisted("spent");
        };
        let presented = Presented {
            token,
            generation,
            request,
        };
        match self.sessions.status(&state, generation, request.now) {
            status @ (TokenStatus::Grace | TokenStatus::Spent) => {
                self.refuse_spent(status, &state.session, &presented).await
            }
            TokenStatus::Revoked(reason) => {
                // Later requests are then answered from the blacklist.
                self.sessions
                    .revocation
                    .record_over(&state, request.now)
                    .await;
                blacklisted(reason.as_str())
            }
            _ => blacklisted("spent"),
        }
    }

    /// Checks a refresh token that a view refused because of its type. The response does not depend
    /// on the result.
    pub(super) async fn inspect_refused(&self, request: &TokenRequest) {
        let Ok(token) = token_ref(&request.checked) else {
            return;
        };
        let Some(generation) = token
            .generation
            .filter(|_| self.binding == ClientBinding::Client)
        else {
            return;
        };
        let Some(state) = self.state_of(&token).await else {
            return;
        };
        let status = self.sessions.status(&state, generation, request.now);
        if matches!(status, TokenStatus::Grace | TokenStatus::Spent) {
            let presented = Presented {
                token: &token,
                generation,
                request,
            };
            self.refuse_spent(status, &state.session, &presented).await;
        }
    }

    /// Returns the state of the token's session, or `None` if it does not match or the database is
    /// unavailable.
    async fn state_of(&self, token: &TokenRef) -> Option<SessionState> {
        match self.sessions.store.find(token.session).await {
            Ok(state) => matching(state, token).ok(),
            Err(error) => {
                tracing::debug!(session = %token.session, %error, "holder of a session unknown");
                None
            }
        }
    }

    /// Revokes the session because of reuse. The audit event has the data of both clients and the
    /// ages, because either client may be the thief. `repeats` is the number of repeats that were
    /// allowed, if they are used up.
    ///
    /// The revocation runs in a separate task, so that a thief cannot cancel it by closing the
    /// connection.
    pub(super) async fn end_session(
        &self,
        presented: &Presented<'_>,
        session: &Session,
        repeats: Option<u32>,
    ) -> Result<(), Error> {
        let Presented {
            token,
            generation,
            request,
        } = *presented;
        let since_rotation = (request.now - session.rotated_at).num_seconds();
        let differs = presented.difference(session).as_str();
        if let Some(suppressed) = REUSE.due() {
            tracing::warn!(
                session = %token.session, user = %token.user, presented = generation, current = session.generation,
                since_rotation, differs, view = request.view.as_str(), cause = "reuse", suppressed,
                "reuse of a spent refresh token: revoking the session"
            );
        }
        let mut audit = AuditEvent::new(request.now, EventKind::Reuse, Actor::Client)
            .of_user(&token.user)
            .of_token(token.session.refresh_jti(generation))
            .from(&request.client.origin())
            .with("presented_generation", generation.to_string())
            .with("current_generation", session.generation.to_string())
            .with("seconds_since_rotation", since_rotation.to_string())
            .with(
                "seconds_since_sign_in",
                (request.now - session.created_at).num_seconds().to_string(),
            )
            .with("view", request.view.as_str())
            .with("differs", differs);
        if let Some(repeats) = repeats {
            audit = audit.with("repeats", repeats.to_string());
        }
        let revoke = Revoke {
            id: token.session,
            of: None,
            reason: RevokedReason::Reuse,
            now: request.now,
            audit: with_holder(audit, session),
        };
        let sessions = Arc::clone(&self.sessions);
        run_as_task(async move { sessions.end(revoke).await }).await?;
        Ok(())
    }
}

/// Adds address and user agent of the holder.
pub(super) fn with_holder(mut event: AuditEvent, session: &Session) -> AuditEvent {
    if let Some(ip) = &session.last_ip {
        event = event.with("holder_ip", ip.as_str());
    }
    if let Some(agent) = &session.user_agent {
        event = event.with("holder_user_agent", agent.as_str());
    }
    event
}
