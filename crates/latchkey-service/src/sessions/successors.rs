//! Tokens that a refresh returns, with their audit events and counters.

use std::sync::Arc;

use super::reuse::{Presented, with_holder};
use crate::{AuditTrail, ClientInfo, Error, Metrics, TokenPair, sampled::Sampled, tokens::Tokens};
use latchkey_crypto::random;
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind},
    session::{Session, SessionState},
    time::Moment,
    user::User,
};

static REPEATED: Sampled = Sampled::new();

/// Tokens that a refresh returns.
pub(crate) struct Successors {
    pub(crate) audit: AuditTrail,
    /// True if each refresh is recorded in the audit trail.
    pub(crate) audits_refreshes: bool,
    pub(crate) metrics: Metrics,
    pub(crate) tokens: Arc<Tokens>,
}

impl Successors {
    /// Issues the successor after a rotation.
    pub(super) fn issue(
        &self,
        state: &SessionState,
        client: &ClientInfo,
    ) -> Result<TokenPair, Error> {
        let (session, jti) = (&state.session, random::jti());
        self.metrics.rotations.inc();
        self.audit_refresh(session, &jti, client, session.rotated_at);
        self.issue_for(state, session.rotated_at, jti)
    }

    /// Issues the same successor again. `other_client` is true if the client is not the holder.
    pub(super) fn repeat(
        &self,
        state: &SessionState,
        presented: &Presented<'_>,
        other_client: bool,
    ) -> Result<TokenPair, Error> {
        let (session, request) = (&state.session, presented.request);
        let difference = presented.difference(session).as_str();
        if let Some(suppressed) = REPEATED.due() {
            tracing::info!(
                session = %session.id, cause = "reuse_in_grace", differs = difference, suppressed,
                "same successor issued again"
            );
        }
        self.metrics.grace_hits.inc();
        self.metrics
            .grace_hits_other_client
            .inc_by(u64::from(other_client));
        let (kind, actor) = if other_client {
            (EventKind::RefreshRepeatedElsewhere, Actor::Client)
        } else {
            (EventKind::RefreshRepeated, Actor::User)
        };
        let (now, jti) = (request.now.max(session.rotated_at), random::jti());
        let mut event = AuditEvent::new(now, kind, actor)
            .of_user(&session.user_id)
            .of_session(session.id)
            .of_token(&*jti)
            .from(&request.client.origin())
            .with("generation", session.generation.to_string());
        if other_client {
            event = with_holder(event.with("differs", difference), session);
        }
        self.audit.record(event);
        self.issue_for(state, now, jti)
    }

    /// Issues only an access token.
    pub(super) fn issue_access(
        &self,
        session: &Session,
        user: &User,
        client: &ClientInfo,
        now: Moment,
    ) -> Result<TokenPair, Error> {
        let jti = random::jti();
        self.audit_refresh(session, &jti, client, now);
        Ok(TokenPair {
            access: self.tokens.issue_access(session, user, now, jti)?,
            refresh: None,
        })
    }

    fn issue_for(
        &self,
        state: &SessionState,
        now: Moment,
        jti: String,
    ) -> Result<TokenPair, Error> {
        let user = state.user.as_ref().ok_or(Error::NoActiveAccount)?;
        self.tokens.issue(&state.session, user, now, jti)
    }

    fn audit_refresh(&self, session: &Session, jti: &str, client: &ClientInfo, now: Moment) {
        if self.audits_refreshes {
            let event = AuditEvent::new(now, EventKind::Refreshed, Actor::User)
                .of_user(&session.user_id)
                .of_session(session.id)
                .of_token(jti)
                .from(&client.origin());
            self.audit
                .record(event.with("generation", session.generation.to_string()));
        }
    }
}
