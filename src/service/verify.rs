//! Asking about a token: simplejwt's `TokenVerifyView`.

use latchkey_verifier::{Checked, Kind};

use super::{
    Auth, Client, Error,
    audit::View,
    tokens::{blacklisted, ended, known, token_ref, unissued},
};
use crate::{
    domain::{
        session::{Grace, Standing},
        time::{Moment, storable},
    },
    ports::{TokenRef, Verdict},
};

impl Auth {
    /// Whether a token of either kind is valid now. simplejwt's order of checks: signature and time, then the
    /// blacklist, then what must be in it.
    ///
    /// # Errors
    /// [`Error::Token`]; [`Error::Unavailable`] when neither Redis nor the database can tell: of a refresh token, Redis
    /// can tell only that it is dead.
    pub async fn verify(&self, token: &str, client: &Client) -> Result<(), Error> {
        let now = storable(self.parts.clock.now());
        let checked = self.check_again(token, now)?;
        let outcome = self.verify_checked(&checked, client, now).await;
        self.noted(View::Verify, &checked, client, now, outcome)
    }

    async fn verify_checked(&self, checked: &Checked, client: &Client, now: Moment) -> Result<(), Error> {
        let required = checked.require_identity(self.parts.keys.policy()).map_err(Error::from);
        match token_ref(checked) {
            Ok(token) => {
                self.check_revocation(&token, checked.kind(), now, Some(client)).await?;
                required
            }
            Err(invalid) => required.and(Err(invalid)),
        }
    }

    /// Whether the token was revoked, cut off or spent, by Redis or the database. A request of `client` is admitted
    /// before the database is asked; without a client it was admitted before.
    pub(super) async fn check_revocation(
        &self,
        token: &TokenRef,
        kind: Kind,
        now: Moment,
        client: Option<&Client>,
    ) -> Result<(), Error> {
        match self.parts.revocation.check(token).await {
            Verdict::Revoked => Err(blacklisted("revoked")),
            Verdict::CutOff => Err(blacklisted("cut_off")),
            Verdict::Spent if self.parts.rules.grace != Grace::Endless => Err(blacklisted("spent")),
            Verdict::Clear if kind == Kind::Access => Ok(()),
            // Nobody waits for a rotation's mark to be written, so its absence says nothing of a refresh token.
            verdict @ (Verdict::Clear | Verdict::Spent | Verdict::Unknown) => {
                Box::pin(async {
                    let _admitted = match client {
                        Some(client) => Some(self.parts.admission.enter(client, Some(token.session)).await?),
                        None => None,
                    };
                    self.ask_database(token, verdict != Verdict::Unknown, now).await
                })
                .await
            }
        }
    }

    /// Where Redis is `believed`, and has no mark of what is over, it gets one.
    async fn ask_database(&self, token: &TokenRef, believed: bool, now: Moment) -> Result<(), Error> {
        let state = known(self.parts.sessions.find(token.session).await?, token)?;
        let standing = match token.generation {
            None => state.access_standing(token.version, now),
            Some(generation) => match self.parts.rules.grace {
                Grace::Endless => state.standing(generation, now, Grace::Endless),
                // Spent is spent, also while the grace would still give the successor for it.
                Grace::Window(_) => state.standing(generation, now, Grace::Window(chrono::TimeDelta::zero())),
            },
        };
        if believed && matches!(standing, Standing::Revoked(_) | Standing::CutOff) {
            self.parts.revocation.mark_over(&state, now).await;
        }
        match standing {
            Standing::Current | Standing::Grace => Ok(()),
            Standing::Revoked(reason) => Err(blacklisted(reason.as_str())),
            Standing::CutOff => Err(blacklisted("cut_off")),
            Standing::NoActiveUser => Err(blacklisted("user_inactive")),
            Standing::Spent => Err(blacklisted("spent")),
            Standing::Ended => Err(ended()),
            Standing::Unissued => Err(unissued()),
        }
    }
}
