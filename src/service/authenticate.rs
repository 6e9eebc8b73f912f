//! Who sends this access token: simplejwt's `JWTAuthentication`.

use latchkey_verifier::{Checked, Kind};

use super::{
    Auth, ClientInfo, Error,
    admission::Admitted,
    audit::View,
    reuse::Call,
    tokens::{blacklisted, ended, invalid, matching_session, token_ref, unknown_generation},
};
use crate::domain::{
    session::{Session, TokenStatus},
    time::truncate_to_micros,
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
    pub async fn authenticate(&self, token: &str, client: &ClientInfo) -> Result<Identity, Error> {
        self.authenticate_admitted(token, client)
            .await
            .map(|(identity, _)| identity)
    }

    /// As above, and returns the admission of the request.
    pub(super) async fn authenticate_admitted(
        &self,
        token: &str,
        client: &ClientInfo,
    ) -> Result<(Identity, Admitted), Error> {
        let now = truncate_to_micros(self.parts.clock.now());
        let checked = self.verify_cached(token, now)?;
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
        self.record_refusal(View::Protected, &checked, client, now, outcome)
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
                Box::pin(self.inspect_refused(checked, call)).await;
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
        let state = matching_session(self.parts.sessions.find(token.session).await?, &token)?;
        let standing = state.access_token_status(token.session_epoch, now);
        if matches!(
            standing,
            TokenStatus::Revoked(_) | TokenStatus::StaleEpoch | TokenStatus::NoActiveUser
        ) {
            self.parts.revocation.record_over(&state, now).await;
        }
        match (standing, state.user) {
            (TokenStatus::Revoked(reason), _) => Err(blacklisted(reason.as_str())),
            (_, None) => Err(Error::UserNotFound),
            (_, Some(user)) if !user.is_active => Err(Error::UserInactive),
            (TokenStatus::Current, Some(user)) => Ok(Identity {
                user,
                session: state.session,
            }),
            (TokenStatus::Ended, _) => Err(ended()),
            (TokenStatus::UnknownGeneration, _) => Err(unknown_generation()),
            (
                TokenStatus::StaleEpoch
                | TokenStatus::Grace
                | TokenStatus::NoActiveUser
                | TokenStatus::Spent,
                _,
            ) => Err(blacklisted("cut_off")),
        }
    }
}
