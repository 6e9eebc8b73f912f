//! Steps that the use cases with a token share: the check of the signature, the admission, and the
//! audit event of a refusal.

use std::sync::Arc;

use latchkey_verifier::{Checked, Kind, Policy};

use crate::{
    Admission, AuditTrail, ClientInfo, Error, TokenDetail,
    admission::Admitted,
    tokens::{
        Tokens,
        reference::{session_id, token_ref},
    },
};
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind},
    ports::Clock,
    time::{Moment, truncate_to_micros},
};

/// View to which a token was presented.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum View {
    /// simplejwt's blacklist view, and dj-rest-auth's logout.
    Blacklist,
    /// View that requires authentication.
    Protected,
    /// simplejwt's refresh view.
    Refresh,
    /// simplejwt's verify view.
    Verify,
}

impl View {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Blacklist => "blacklist",
            Self::Protected => "protected",
            Self::Refresh => "refresh",
            Self::Verify => "verify",
        }
    }
}

/// Request with a token whose signature and times are valid.
pub(super) struct TokenRequest {
    /// Claims of the token.
    pub checked: Checked,
    /// Client that sent the request.
    pub client: ClientInfo,
    /// Time of arrival.
    pub now: Moment,
    /// View.
    pub view: View,
}

/// First and last steps of the use cases with a token.
pub(crate) struct TokenRequests {
    pub(crate) admission: Admission,
    pub(crate) audit: AuditTrail,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tokens: Arc<Tokens>,
}

impl TokenRequests {
    /// Checks signature, times and issuer of the token, without I/O. Only access tokens and
    /// verified tokens are usually presented repeatedly, so only their signatures are cached.
    pub(super) fn check(
        &self,
        view: View,
        token: &str,
        client: ClientInfo,
    ) -> Result<TokenRequest, Error> {
        let now = truncate_to_micros(self.clock.now());
        let checked = match view {
            View::Blacklist | View::Refresh => self.tokens.check(token, now)?,
            View::Protected | View::Verify => self.tokens.check_cached(token, now)?,
        };
        Ok(TokenRequest {
            checked,
            client,
            now,
            view,
        })
    }

    /// Admits the request, by its session and its source.
    pub(super) async fn admit(&self, request: &TokenRequest) -> Result<Admitted, Error> {
        self.admission
            .enter(&request.client, session_id(request.checked.claims()))
            .await
    }

    pub(super) fn policy(&self) -> &Policy {
        self.tokens.policy()
    }

    /// Returns the outcome, and records a refusal in the audit trail. Tokens with an invalid
    /// signature are refused before this step: they are counted but not recorded.
    pub(super) fn record_refusal<T>(
        &self,
        request: &TokenRequest,
        outcome: Result<T, Error>,
    ) -> Result<T, Error> {
        if let Err(error) = &outcome
            && is_audited(error)
        {
            self.audit.record(self.refused(request, error.cause()));
        }
        outcome
    }

    fn refused(&self, request: &TokenRequest, cause: &'static str) -> AuditEvent {
        let checked = &request.checked;
        let kind = if checked.kind() == Kind::Access {
            "access"
        } else {
            "refresh"
        };
        let mut event = AuditEvent::new(request.now, EventKind::TokenRefused, Actor::Client)
            .with_cause(cause)
            .from(&request.client.origin())
            .with("view", request.view.as_str())
            .with("token", kind);
        event.jti = checked
            .claims()
            .text(&self.policy().names.jti)
            .map(ToOwned::to_owned);
        if let Ok(token) = token_ref(checked) {
            event = event.of_user(&token.user).of_session(token.session);
        }
        event
    }
}

/// Returns true if the error belongs in the audit trail. Expired tokens are routine, and internal
/// failures belong in the log.
fn is_audited(error: &Error) -> bool {
    match error {
        Error::NoActiveAccount
        | Error::NoUserIdentification
        | Error::UserInactive
        | Error::UserNotFound => true,
        Error::Token { detail, .. } => *detail != TokenDetail::Expired,
        Error::BadCredentials
        | Error::Busy
        | Error::Internal(_)
        | Error::NoSession
        | Error::Overloaded
        | Error::Unavailable(_) => false,
    }
}
