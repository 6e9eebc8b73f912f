//! Log-out: simplejwt's `TokenBlacklistView`.

use std::sync::Arc;

use super::{
    refusal::blacklisted,
    request::{TokenRequest, TokenRequests, View},
    reuse::{Presented, ReuseDetection},
    revocation_check::RevocationCheck,
    run_to_completion::run_to_completion,
    stored::StoredSessions,
};
use crate::{ClientInfo, Error};
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind},
    decision::{Decision, Purpose},
    ports::Revoke,
    reuse::Consequence,
    session::RevokedReason,
};

/// Log-out by refresh token.
pub struct LogOut {
    pub(crate) check: Arc<RevocationCheck>,
    pub(crate) requests: Arc<TokenRequests>,
    pub(crate) reuse: Arc<ReuseDetection>,
    pub(crate) sessions: Arc<StoredSessions>,
}

impl LogOut {
    /// Ends the session of a refresh token of any generation, so that a stale tab can log out. If
    /// the grace of a spent token is over, or if the client differs from the holder in both address
    /// and `User-Agent`, the session is revoked because of reuse, and the token is refused.
    ///
    /// # Errors
    /// [`Error::Token`]. [`Error::Unavailable`], after which the session may or may not have ended:
    /// the client should retry.
    pub async fn log_out(self: &Arc<Self>, token: &str, client: ClientInfo) -> Result<(), Error> {
        let request = self.requests.check(View::Blacklist, token, client)?;
        let admitted = self.requests.admit(&request).await?;
        let this = Arc::clone(self);
        run_to_completion(admitted, async move {
            let outcome = this.end_session(&request).await;
            this.requests.record_refusal(&request, outcome)
        })
        .await
    }

    async fn end_session(&self, request: &TokenRequest) -> Result<(), Error> {
        let (token, generation) = self.check.refresh_token(request).await?;
        let (state, now) = (self.sessions.find(&token).await?, request.now);
        let status = self.sessions.status(&state, generation, now);
        let purpose = Purpose::Logout;
        match purpose.decide(status) {
            Decision::Accept => {}
            Decision::Refuse(refused) => {
                return Err(self.sessions.refuse(purpose, refused, &state, now).await);
            }
            Decision::Spent => {
                let (session, presented) = (
                    &state.session,
                    Presented {
                        token: &token,
                        generation,
                        request,
                    },
                );
                if self.reuse.consequence(purpose, status, session, &presented)
                    != Consequence::Logout
                {
                    self.reuse.end_session(&presented, session, None).await?;
                    return Err(blacklisted("reuse"));
                }
            }
        }
        let audit = AuditEvent::new(now, EventKind::SessionRevoked, Actor::User)
            .of_user(&token.user)
            .of_token(token.session.refresh_jti(generation))
            .from(&request.client.origin());
        let revoke = Revoke {
            id: token.session,
            of: None,
            reason: RevokedReason::LoggedOut,
            now,
            audit,
        };
        // The second of two concurrent log-outs is refused.
        if self.sessions.end(revoke).await? {
            Ok(())
        } else {
            Err(blacklisted("logged_out"))
        }
    }
}
