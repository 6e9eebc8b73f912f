//! Log-out: simplejwt's `TokenBlacklistView`.

use std::sync::Arc;

use latchkey_verifier::Checked;

use super::{
    Auth, Client, Error,
    audit::View,
    spent::{Call, Presented},
    tokens::{blacklisted, ended, known, unissued},
};
use crate::domain::{
    audit::{Actor, AuditEvent, EventKind},
    session::{RevokedReason, Standing},
    spent::{Consequence, Purpose},
    time::storable,
};

impl Auth {
    /// Ends the session of a refresh token, whichever of its generations it is: a stale tab's log-out is a log-out.
    /// If the grace of a spent token is over, or if the client differs from the holder in both address and
    /// `User-Agent`, the session ends by reuse, and the response is a refusal.
    ///
    /// # Errors
    /// [`Error::Token`]; [`Error::Unavailable`], and then nobody knows whether the session ended: ask again.
    pub async fn blacklist(self: &Arc<Self>, token: &str, client: Client) -> Result<(), Error> {
        let now = storable(self.parts.clock.now());
        let checked = self.check(token, now)?;
        let admitted = self.admit(&checked, &client).await?;
        self.to_the_end(admitted, async move |auth| {
            let outcome = auth
                .blacklist_checked(
                    &checked,
                    Call {
                        view: View::Blacklist,
                        client: &client,
                        now,
                    },
                )
                .await;
            auth.noted(View::Blacklist, &checked, &client, now, outcome)
        })
        .await
    }

    async fn blacklist_checked(&self, checked: &Checked, call: Call<'_>) -> Result<(), Error> {
        let (Call { client, now, .. }, (token, generation)) =
            (call, self.check_refresh(checked, call).await?);
        let state = known(self.parts.sessions.find(token.session).await?, &token)?;
        let standing = state.standing(generation, now, self.parts.rules.grace);
        match standing {
            Standing::Revoked(reason) => {
                self.parts.revocation.mark_over(&state, now).await;
                return Err(blacklisted(reason.as_str()));
            }
            Standing::CutOff => {
                self.parts.revocation.mark_over(&state, now).await;
                return Err(blacklisted("cut_off"));
            }
            Standing::Ended => return Err(ended()),
            Standing::Unissued => return Err(unissued()),
            Standing::Grace | Standing::Spent => {
                let presented = Presented {
                    token: &token,
                    generation,
                    call,
                };
                if self.consequence(Purpose::Logout, standing, &state.session, &presented)
                    != Consequence::Logout
                {
                    self.end_by_reuse(&presented, &state.session, None).await?;
                    return Err(blacklisted("reuse"));
                }
            }
            Standing::Current | Standing::NoActiveUser => {}
        }
        let audit = AuditEvent::new(now, EventKind::SessionRevoked, Actor::User)
            .of_user(&token.user)
            .of_token(token.session.refresh_jti(generation))
            .from(&client.origin());
        // Of two log-outs at once, one ended the session and the other finds it ended.
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
