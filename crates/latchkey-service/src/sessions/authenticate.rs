//! Authentication by access token: simplejwt's `JWTAuthentication`.

use std::sync::Arc;

use latchkey_verifier::Kind;

use super::{
    refusal::blacklisted,
    request::{TokenRequest, TokenRequests, View},
    reuse::ReuseDetection,
    stored::StoredSessions,
};
use crate::{
    ClientInfo, Error,
    admission::Admitted,
    tokens::reference::{invalid, token_ref},
};
use latchkey_domain::{
    decision::{Decision, Purpose},
    session::Session,
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
    pub(super) client: ClientInfo,
    pub(super) admitted: Admitted,
}

/// Authentication of requests by access token.
pub struct Authenticate {
    pub(crate) requests: Arc<TokenRequests>,
    pub(crate) reuse: Arc<ReuseDetection>,
    pub(crate) sessions: Arc<StoredSessions>,
}

impl Authenticate {
    /// Authenticates a request by its access token. The database is always queried, because its row
    /// is needed anyway. The order of checks is that of simplejwt: the token, the user in the
    /// token, and the state of that user.
    ///
    /// # Errors
    /// [`Error::Token`], [`Error::NoUserIdentification`], [`Error::UserNotFound`],
    /// [`Error::UserInactive`], [`Error::Overloaded`], [`Error::Unavailable`].
    pub async fn authenticate(&self, token: &str, client: ClientInfo) -> Result<Caller, Error> {
        let request = self.requests.check(View::Protected, token, client)?;
        let admitted = self.requests.admit(&request).await?;
        let outcome = self.authenticate_checked(&request).await;
        let identity = self.requests.record_refusal(&request, outcome)?;
        Ok(Caller {
            identity,
            client: request.client,
            admitted,
        })
    }

    async fn authenticate_checked(&self, request: &TokenRequest) -> Result<Identity, Error> {
        let (checked, policy) = (&request.checked, self.requests.policy());
        if let Err(refusal) = checked.require(Kind::Access, policy) {
            if checked.kind() == Kind::Refresh {
                Box::pin(self.reuse.inspect_refused(request)).await;
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
        let (state, purpose) = (self.sessions.find(&token).await?, Purpose::Authenticate);
        match purpose.decide(state.access_token_status(token.session_epoch, request.now)) {
            Decision::Accept => match state.user {
                Some(user) => Ok(Identity {
                    user,
                    session: state.session,
                }),
                None => Err(Error::UserNotFound),
            },
            Decision::Refuse(refused) => {
                let now = request.now;
                Err(self.sessions.refuse(purpose, refused, &state, now).await)
            }
            // An access token belongs to no generation.
            Decision::Spent => Err(blacklisted("spent")),
        }
    }
}
