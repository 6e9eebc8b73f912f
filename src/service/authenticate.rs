//! Who sends this access token: simplejwt's `JWTAuthentication`.

use latchkey_verifier::Kind;

use super::{
    Auth, Error,
    tokens::{blacklisted, ended, invalid, known, token_ref, unissued},
};
use crate::domain::{session::Standing, time::storable, user::User};

impl Auth {
    /// The user of an access token. The row is read anyway, so the database alone decides, in simplejwt's order:
    /// the token, then whom it names, then whether that user is there and active.
    ///
    /// # Errors
    /// [`Error::Token`], [`Error::NoUserIdentification`], [`Error::UserNotFound`], [`Error::UserInactive`],
    /// [`Error::Unavailable`].
    pub async fn authenticate(&self, token: &str) -> Result<User, Error> {
        let now = storable(self.parts.clock.now());
        let checked = self.check(token, now)?;
        let policy = self.parts.verifier.policy();
        checked.require(Kind::Access, policy)?;
        match checked.claims().get(&policy.names.user_id) {
            None => return Err(Error::NoUserIdentification),
            Some(id) if id.is_string() => {}
            Some(_) => return Err(invalid()),
        }
        let token = token_ref(&checked)?;
        let state = known(self.parts.sessions.find(token.session).await?, &token)?;
        match (state.access_standing(token.version, now), state.user) {
            (Standing::Revoked(reason), _) => Err(blacklisted(reason.as_str())),
            (_, None) => Err(Error::UserNotFound),
            (_, Some(user)) if !user.is_active => Err(Error::UserInactive),
            (Standing::Current, Some(user)) => Ok(user),
            (Standing::Ended, _) => Err(ended()),
            (Standing::Unissued, _) => Err(unissued()),
            (Standing::CutOff | Standing::Grace | Standing::NoActiveUser | Standing::Spent, _) => {
                Err(blacklisted("cut_off"))
            }
        }
    }
}
