//! Who sends this access token: simplejwt's `JWTAuthentication`.

use latchkey_verifier::{Checked, Kind};

use super::{
    Auth, Client, Error,
    admission::Admitted,
    audit::View,
    spent::Call,
    tokens::{blacklisted, ended, invalid, known, token_ref, unissued},
};
use crate::domain::{
    session::{Session, Standing},
    time::storable,
    user::User,
};

/// Who sends a request, and by which session.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The user.
    pub user: User,
    /// The session that the access token belongs to.
    pub session: Session,
}

impl Auth {
    /// The user of an access token, and the session. The row is read anyway, so the database alone decides, in simplejwt's order:
    /// the token, then whom it names, then whether that user is there and active.
    ///
    /// # Errors
    /// [`Error::Token`], [`Error::NoUserIdentification`], [`Error::UserNotFound`], [`Error::UserInactive`],
    /// [`Error::Overloaded`], [`Error::Unavailable`].
    pub async fn authenticate(&self, token: &str, client: &Client) -> Result<Identity, Error> {
        self.authenticate_admitted(token, client)
            .await
            .map(|(identity, _)| identity)
    }

    /// As above, and returns the admission of the request.
    pub(super) async fn authenticate_admitted(
        &self,
        token: &str,
        client: &Client,
    ) -> Result<(Identity, Admitted), Error> {
        let now = storable(self.parts.clock.now());
        let checked = self.check_again(token, now)?;
        let admitted = self.admit(&checked, client).await?;
        let outcome = self
            .authenticate_checked(
                &checked,
                Call {
                    view: View::Protected,
                    client,
                    now,
                },
            )
            .await;
        self.noted(View::Protected, &checked, client, now, outcome)
            .map(|identity| (identity, admitted))
    }

    async fn authenticate_checked(
        &self,
        checked: &Checked,
        call: Call<'_>,
    ) -> Result<Identity, Error> {
        let (policy, now) = (self.parts.keys.policy(), call.now);
        if let Err(refusal) = checked.require(Kind::Access, policy) {
            if checked.kind() == Kind::Refresh {
                Box::pin(self.look_at_refused(checked, call)).await;
            }
            return Err(refusal.into());
        }
        let (claims, name) = (checked.claims(), &*policy.names.user_id);
        if !claims.contains(name) {
            return Err(Error::NoUserIdentification);
        }
        if claims.text(name).is_none() {
            return Err(invalid());
        }
        let token = token_ref(checked)?;
        let state = known(self.parts.sessions.find(token.session).await?, &token)?;
        let standing = state.access_standing(token.version, now);
        if matches!(
            standing,
            Standing::Revoked(_) | Standing::CutOff | Standing::NoActiveUser
        ) {
            self.parts.revocation.mark_over(&state, now).await;
        }
        match (standing, state.user) {
            (Standing::Revoked(reason), _) => Err(blacklisted(reason.as_str())),
            (_, None) => Err(Error::UserNotFound),
            (_, Some(user)) if !user.is_active => Err(Error::UserInactive),
            (Standing::Current, Some(user)) => Ok(Identity {
                user,
                session: state.session,
            }),
            (Standing::Ended, _) => Err(ended()),
            (Standing::Unissued, _) => Err(unissued()),
            (Standing::CutOff | Standing::Grace | Standing::NoActiveUser | Standing::Spent, _) => {
                Err(blacklisted("cut_off"))
            }
        }
    }
}
