//! Log-out: simplejwt's `TokenBlacklistView`.

use super::{
    Auth, Error,
    tokens::{blacklisted, ended, known, unissued},
};
use crate::domain::{
    session::{RevokedReason, Standing},
    time::storable,
};

impl Auth {
    /// Ends the session of a refresh token, whichever of its generations it is: a stale tab's log-out is a log-out.
    /// For a token that was spent before the grace, the session dies too, and the answer is the one for such a token.
    ///
    /// # Errors
    /// [`Error::Token`]; [`Error::Unavailable`], and then nobody knows whether the session ended: ask again.
    pub async fn blacklist(&self, token: &str) -> Result<(), Error> {
        let now = storable(self.parts.clock.now());
        let (token, generation) = self.check_refresh(token, now).await?;
        let state = known(self.parts.sessions.find(token.session).await?, &token)?;
        let (reason, answer) = match state.standing(generation, now, self.parts.rules.grace) {
            Standing::Revoked(reason) => {
                self.parts.revocation.mark_revoked(&state.session, now).await;
                return Err(blacklisted(reason.as_str()));
            }
            Standing::CutOff => return Err(blacklisted("cut_off")),
            Standing::Ended => return Err(ended()),
            Standing::Unissued => return Err(unissued()),
            Standing::Spent => (RevokedReason::Reuse, Err(blacklisted("reuse"))),
            Standing::Current | Standing::Grace | Standing::NoActiveUser => (RevokedReason::LoggedOut, Ok(())),
        };
        // Of two log-outs at once, one ended the session and the other finds it ended.
        if self.parts.revocation.revoke(token.session, reason, now).await? {
            answer
        } else {
            Err(blacklisted("logged_out"))
        }
    }
}
