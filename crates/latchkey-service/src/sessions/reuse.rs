//! Detection of refresh token reuse, in all views. `domain/decision.rs` and `domain/reuse.rs` hold
//! the rules.

use latchkey_verifier::Checked;

use crate::{
    Auth, ClientInfo, Error,
    audit::View,
    sampled::Sampled,
    tokens::{blacklisted, matching_session, token_ref},
};
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind},
    decision::Purpose,
    ports::{Revoke, TokenRef},
    reuse::{ClientBinding, Consequence, Difference},
    session::{ReuseGrace, RevokedReason, Session, SessionState, TokenStatus},
    time::Moment,
};

static REUSE: Sampled = Sampled::new();

/// Request to a view.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    /// View.
    pub view: View,
    /// Client that sent the request.
    pub client: &'a ClientInfo,
    /// Time of arrival.
    pub now: Moment,
}

/// Refresh token in a request.
#[derive(Clone, Copy)]
pub(crate) struct Presented<'a> {
    pub token: &'a TokenRef,
    pub generation: u32,
    pub call: Call<'a>,
}

impl Presented<'_> {
    /// Returns the difference between the sender and the client of the last rotation.
    pub(crate) fn difference(&self, session: &Session) -> Difference {
        Difference::between(session, &self.call.client.origin())
    }
}

impl Auth {
    /// Returns the consequence of a token with the status [`TokenStatus::Grace`] or
    /// [`TokenStatus::Spent`].
    pub(crate) fn consequence(
        &self,
        purpose: Purpose,
        status: TokenStatus,
        session: &Session,
        presented: &Presented<'_>,
    ) -> Consequence {
        purpose.consequence(
            status == TokenStatus::Grace,
            presented.difference(session),
            self.parts.rules.binding,
        )
    }

    /// Refuses a spent token in a view that returns no successor. If the client differs from the
    /// holder in both address and `User-Agent`, the session is revoked. Otherwise a thief could
    /// find out without risk if the owner has refreshed.
    ///
    /// The token is refused in any case, so a failed revocation does not change the response.
    pub(crate) async fn refuse_spent(
        &self,
        status: TokenStatus,
        session: &Session,
        presented: &Presented<'_>,
    ) -> Error {
        if self.consequence(Purpose::Verify, status, session, presented) != Consequence::Reuse {
            return blacklisted("spent");
        }
        match self.end_by_reuse(presented, session, None).await {
            Ok(()) => blacklisted("reuse"),
            Err(error) => {
                tracing::warn!(session = %session.id, %error, "session not revoked after token reuse");
                blacklisted("spent")
            }
        }
    }

    /// Like [`Auth::refuse_spent`], for a token that is spent according to the blacklist. One
    /// database query finds the holder. The token is refused regardless of the result, even if the
    /// database is unavailable.
    pub(crate) async fn refuse_blacklisted_spent(&self, token: &TokenRef, call: Call<'_>) -> Error {
        let Some(generation) = token
            .generation
            .filter(|_| self.parts.rules.binding == ClientBinding::Client)
        else {
            return blacklisted("spent");
        };
        let Some(state) = self.state_of(token).await else {
            return blacklisted("spent");
        };
        let presented = Presented {
            token,
            generation,
            call,
        };
        match state.token_status(generation, call.now, self.parts.rules.grace) {
            status @ (TokenStatus::Grace | TokenStatus::Spent) => {
                self.refuse_spent(status, &state.session, &presented).await
            }
            TokenStatus::Revoked(reason) => {
                // Later requests are then answered from the blacklist.
                self.parts.revocation.record_over(&state, call.now).await;
                blacklisted(reason.as_str())
            }
            _ => blacklisted("spent"),
        }
    }

    /// Checks a refresh token that a view refused because of its type. The response does not depend
    /// on the result.
    pub(crate) async fn inspect_refused(&self, checked: &Checked, call: Call<'_>) {
        let Ok(token) = token_ref(checked) else {
            return;
        };
        let Some(generation) = token
            .generation
            .filter(|_| self.parts.rules.binding == ClientBinding::Client)
        else {
            return;
        };
        let Some(state) = self.state_of(&token).await else {
            return;
        };
        let status = state.token_status(generation, call.now, self.parts.rules.grace);
        if matches!(status, TokenStatus::Grace | TokenStatus::Spent) {
            let presented = Presented {
                token: &token,
                generation,
                call,
            };
            self.refuse_spent(status, &state.session, &presented).await;
        }
    }

    /// Returns the state of the token's session, or `None` if it does not match or the database is
    /// unavailable.
    async fn state_of(&self, token: &TokenRef) -> Option<SessionState> {
        match self.parts.sessions.find(token.session).await {
            Ok(state) => matching_session(state, token).ok(),
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
    pub(crate) async fn end_by_reuse(
        &self,
        presented: &Presented<'_>,
        session: &Session,
        repeats: Option<u32>,
    ) -> Result<(), Error> {
        let Presented {
            token,
            generation,
            call,
        } = *presented;
        let since_rotation = (call.now - session.rotated_at).num_seconds();
        let differs = presented.difference(session).as_str();
        if let Some(suppressed) = REUSE.due() {
            tracing::warn!(
                session = %token.session, user = %token.user, presented = generation, current = session.generation,
                since_rotation, differs, view = call.view.as_str(), cause = "reuse", suppressed,
                "reuse of a spent refresh token: revoking the session"
            );
        }
        let mut audit = AuditEvent::new(call.now, EventKind::Reuse, Actor::Client)
            .of_user(&token.user)
            .of_session(token.session)
            .of_token(token.session.refresh_jti(generation))
            .with_cause(RevokedReason::Reuse.as_str())
            .from(&call.client.origin())
            .with("presented_generation", generation.to_string())
            .with("current_generation", session.generation.to_string())
            .with("seconds_since_rotation", since_rotation.to_string())
            .with(
                "seconds_since_sign_in",
                (call.now - session.created_at).num_seconds().to_string(),
            )
            .with("view", call.view.as_str())
            .with("differs", differs);
        if let Some(repeats) = repeats {
            audit = audit.with("repeats", repeats.to_string());
        }
        let reason = RevokedReason::Reuse;
        let revoke = Revoke {
            id: token.session,
            of: None,
            reason,
            now: call.now,
            audit: with_holder(audit, session),
        };
        let (revocation, metrics) = (self.parts.revocation.clone(), self.parts.metrics.clone());
        let ended = tokio::spawn(async move {
            let ended = revocation.revoke(revoke).await?;
            metrics.count_revoked(reason, usize::from(ended == Some(true)));
            Ok::<_, Error>(())
        });
        ended
            .await
            .unwrap_or_else(|_| Err(Error::Internal("a use case panicked".to_owned())))
    }

    /// Returns the event kind of a repeat within the reuse grace, and the difference of the
    /// clients. A client that differs from the holder has a separate kind. If the grace is
    /// unlimited, there is no holder.
    pub(crate) fn repeated(
        &self,
        session: &Session,
        presented: &Presented<'_>,
    ) -> (EventKind, Difference) {
        let difference = presented.difference(session);
        if difference.any() && self.parts.rules.grace != ReuseGrace::Unlimited {
            (EventKind::RefreshRepeatedElsewhere, difference)
        } else {
            (EventKind::RefreshRepeated, difference)
        }
    }
}

/// Adds address and user agent of the holder.
pub(crate) fn with_holder(mut event: AuditEvent, session: &Session) -> AuditEvent {
    if let Some(ip) = &session.last_ip {
        event = event.with("holder_ip", ip.as_str());
    }
    if let Some(agent) = &session.user_agent {
        event = event.with("holder_user_agent", agent.as_str());
    }
    event
}
