//! Authentication by access token: simplejwt's `JWTAuthentication`.

use latchkey_verifier::{Checked, Kind};

use crate::{
    Auth, ClientInfo, Error,
    admission::Admitted,
    audit::View,
    reuse::Call,
    tokens::{blacklisted, invalid, matching_session, token_ref},
};
use latchkey_domain::{
    decision::{Decision, Purpose},
    session::Session,
    time::truncate_to_micros,
    user::User,
};

/// User and session of an authenticated request.
#[derive(Clone, Debug)]
pub struct Identity {
    /// User.
    pub user: User,
    /// Session of the access token.
    pub session: Session,
}

/// Authenticated request. It counts as work in progress until it is dropped.
pub struct Caller {
    /// User and session.
    pub identity: Identity,
    pub(crate) client: ClientInfo,
    pub(crate) admitted: Admitted,
}

impl Auth {
    /// Authenticates a request by its access token. The database is always queried, because its row
    /// is needed anyway. The order of checks is that of simplejwt: the token, the user in the
    /// token, and the state of that user.
    ///
    /// # Errors
    /// [`Error::Token`], [`Error::NoUserIdentification`], [`Error::UserNotFound`],
    /// [`Error::UserInactive`], [`Error::Overloaded`], [`Error::Unavailable`].
    pub async fn authenticate(&self, token: &str, client: ClientInfo) -> Result<Caller, Error> {
        let now = truncate_to_micros(self.parts.clock.now());
        let checked = self.verify_cached(token, now)?;
        let admitted = self.admit(&checked, &client).await?;
        let call = Call {
            view: View::Protected,
            client: &client,
            now,
        };
        let outcome = self.authenticate_checked(&checked, call).await;
        let identity = self.record_refusal(View::Protected, &checked, &client, now, outcome)?;
        Ok(Caller {
            identity,
            client,
            admitted,
        })
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
        let status = state.access_token_status(token.session_epoch, now);
        match Purpose::Authenticate.decide(status) {
            Decision::Accept => match state.user {
                Some(user) => Ok(Identity {
                    user,
                    session: state.session,
                }),
                None => Err(Error::UserNotFound),
            },
            Decision::Refuse(refused) => {
                let purpose = Purpose::Authenticate;
                Err(self.refuse(purpose, refused, &state, now).await)
            }
            // An access token belongs to no generation.
            Decision::Spent => Err(blacklisted("spent")),
        }
    }
}
