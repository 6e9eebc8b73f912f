//! Spent refresh tokens that come back, in any view.

use latchkey_verifier::Checked;

use super::{
    Auth, ClientInfo, Error,
    audit::View,
    sampled::Sampled,
    tokens::{blacklisted, matching_session, token_ref},
};
use crate::{
    domain::{
        audit::{Actor, AuditEvent, EventKind},
        reuse::{ClientBinding, Consequence, Difference, Purpose},
        session::{ReuseGrace, RevokedReason, Session, SessionState, TokenStatus},
        time::Moment,
    },
    ports::{Revoke, TokenRef},
};

static REUSE: Sampled = Sampled::new();

/// A request to a view.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    /// The view.
    pub view: View,
    /// The sender.
    pub client: &'a ClientInfo,
    /// The time of its arrival.
    pub now: Moment,
}

/// A refresh token in a request.
#[derive(Clone, Copy)]
pub(super) struct Presented<'a> {
    pub token: &'a TokenRef,
    pub generation: u32,
    pub call: Call<'a>,
}

impl Presented<'_> {
    /// Returns the difference between the sender and the client of the last rotation.
    pub(super) fn difference(&self, session: &Session) -> Difference {
        Difference::between(session, &self.call.client.origin())
    }
}

impl Auth {
    /// Returns the consequence of a token whose standing is [`Standing::Grace`] or [`Standing::Spent`].
    pub(super) fn consequence(
        &self,
        purpose: Purpose,
        standing: TokenStatus,
        session: &Session,
        presented: &Presented<'_>,
    ) -> Consequence {
        purpose.consequence(
            standing == TokenStatus::Grace,
            presented.difference(session),
            self.parts.rules.binding,
        )
    }

    /// Refuses a spent token in a view that grants nothing for one. If the sender differs from the holder in both
    /// address and `User-Agent`, the session ends. Otherwise a thief could learn without risk if the owner has
    /// refreshed.
    ///
    /// The token is refused in any case, so a failure to end the session does not change the response.
    pub(super) async fn refuse_spent(
        &self,
        standing: TokenStatus,
        session: &Session,
        presented: &Presented<'_>,
    ) -> Error {
        if self.consequence(Purpose::Verify, standing, session, presented) != Consequence::Reuse {
            return blacklisted("spent");
        }
        match self.end_by_reuse(presented, session, None).await {
            Ok(()) => blacklisted("reuse"),
            Err(error) => {
                tracing::warn!(session = %session.id, %error, "a session was not revoked for the reuse of its token");
                blacklisted("spent")
            }
        }
    }

    /// As [`Auth::refuse_spent`], for a token that is spent according to Redis. One query to the database finds the
    /// holder. The token is refused regardless of the result, and even if the database does not answer.
    pub(super) async fn refuse_blacklisted_spent(&self, token: &TokenRef, call: Call<'_>) -> Error {
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
            standing @ (TokenStatus::Grace | TokenStatus::Spent) => {
                self.refuse_spent(standing, &state.session, &presented)
                    .await
            }
            TokenStatus::Revoked(reason) => {
                // From now on, Redis answers.
                self.parts.revocation.record_over(&state, call.now).await;
                blacklisted(reason.as_str())
            }
            _ => blacklisted("spent"),
        }
    }

    /// Checks a refresh token that a view has refused because of its type. The response does not depend on the result.
    pub(super) async fn inspect_refused(&self, checked: &Checked, call: Call<'_>) {
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
        let standing = state.token_status(generation, call.now, self.parts.rules.grace);
        if matches!(standing, TokenStatus::Grace | TokenStatus::Spent) {
            let presented = Presented {
                token: &token,
                generation,
                call,
            };
            self.refuse_spent(standing, &state.session, &presented)
                .await;
        }
    }

    /// Returns the state of the token's session, if the database answers.
    async fn state_of(&self, token: &TokenRef) -> Option<SessionState> {
        match self.parts.sessions.find(token.session).await {
            Ok(state) => matching_session(state, token).ok(),
            Err(error) => {
                tracing::debug!(session = %token.session, %error, "the holder of a session is not known");
                None
            }
        }
    }

    /// Ends the session because a spent token came back. The audit trail gets both clients and the ages, because either
    /// client may be the thief. `repeats` is the number that the grace allowed, if they are used up.
    ///
    /// Runs in a separate task, so that the sender of a stolen token cannot save the session by closing its connection.
    pub(super) async fn end_by_reuse(
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
                "a spent refresh token came back: the session is revoked"
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

    /// Returns the kind of the event of a repeat within the grace, and the difference. A sender that differs from the
    /// holder has a separate kind. If the grace never ends, there is no holder.
    pub(super) fn repeated(
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

/// Adds the known facts about the client that holds the live generation.
pub(super) fn with_holder(mut event: AuditEvent, session: &Session) -> AuditEvent {
    if let Some(ip) = &session.last_ip {
        event = event.with("holder_ip", ip.as_str());
    }
    if let Some(agent) = &session.user_agent {
        event = event.with("holder_user_agent", agent.as_str());
    }
    event
}
