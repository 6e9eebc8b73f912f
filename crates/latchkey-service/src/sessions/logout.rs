//! Log-out: simplejwt's `TokenBlacklistView`.

use std::sync::Arc;

use latchkey_verifier::Checked;

use crate::{
    Auth, ClientInfo, Error,
    audit::View,
    reuse::{Call, Presented},
    tokens::{blacklisted, matching_session},
};
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind},
    decision::{Decision, Purpose},
    reuse::Consequence,
    session::RevokedReason,
    time::truncate_to_micros,
};

impl Auth {
    /// Ends the session of a refresh token of any generation, so that a stale tab can log out. If
    /// the grace of a spent token is over, or if the client differs from the holder in both address
    /// and `User-Agent`, the session is revoked because of reuse, and the token is refused.
    ///
    /// # Errors
    /// [`Error::Token`]. [`Error::Unavailable`], after which the session may or may not have ended:
    /// the client should retry.
    pub async fn log_out(self: &Arc<Self>, token: &str, client: ClientInfo) -> Result<(), Error> {
        let now = truncate_to_micros(self.parts.clock.now());
        let checked = self.verify_token(token, now)?;
        let admitted = self.admit(&checked, &client).await?;
        self.run_to_completion(admitted, async move |auth| {
            let outcome = auth
                .log_out_checked(
                    &checked,
                    Call {
                        view: View::Blacklist,
                        client: &client,
                        now,
                    },
                )
                .await;
            auth.record_refusal(View::Blacklist, &checked, &client, now, outcome)
        })
        .await
    }

    async fn log_out_checked(&self, checked: &Checked, call: Call<'_>) -> Result<(), Error> {
        let (Call { client, now, .. }, (token, generation)) =
            (call, self.check_refresh(checked, call).await?);
        let state = matching_session(self.parts.sessions.find(token.session).await?, &token)?;
        let status = state.token_status(generation, now, self.parts.rules.grace);
        match Purpose::Logout.decide(status) {
            Decision::Accept => {}
            Decision::Refuse(refused) => {
                return Err(self.refuse(Purpose::Logout, refused, &state, now).await);
            }
            Decision::Spent => {
                let presented = Presented {
                    token: &token,
                    generation,
                    call,
                };
                if self.consequence(Purpose::Logout, status, &state.session, &presented)
                    != Consequence::Logout
                {
                    self.end_by_reuse(&presented, &state.session, None).await?;
                    return Err(blacklisted("reuse"));
                }
            }
        }
        let audit = AuditEvent::new(now, EventKind::SessionRevoked, Actor::User)
            .of_user(&token.user)
            .of_token(token.session.refresh_jti(generation))
            .from(&client.origin());
        // The second of two concurrent log-outs is refused.
        if self
            .end(token.session, None, RevokedReason::LoggedOut, now, audit)
            .await?
        {
            Ok(())
        } else {
            Err(blacklisted("logged_out"))
        }
    }
}
