//! Tokens: issues them, and checks them offline.

pub(crate) mod reference;

use std::sync::Arc;

use chrono::TimeDelta;
use latchkey_verifier::{Checked, Kind, Policy};

use crate::{ActiveKeys, Error};
use latchkey_crypto::{random, sign::TokenShape};
use latchkey_domain::{
    claims::{AccessClaims, ExtraClaim, RefreshClaims},
    session::Session,
    time::Moment,
    user::User,
};

/// Lifetimes and claims of tokens.
#[derive(Clone, Debug)]
pub struct TokenRules {
    /// simplejwt's `ACCESS_TOKEN_LIFETIME`.
    pub access_lifetime: TimeDelta,
    /// simplejwt's `REFRESH_TOKEN_LIFETIME`.
    pub refresh_lifetime: TimeDelta,
    /// Maximum random reduction of an access token's lifetime. It spreads the refreshes of
    /// tabs that signed in together.
    pub access_jitter: TimeDelta,
    /// Additional claims about the user in access tokens.
    pub extra: Vec<ExtraClaim>,
}

/// Response to a sign-in or a refresh.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenPair {
    /// Access token.
    pub access: String,
    /// Refresh token, or `None` without rotation, in which case the client keeps its token.
    pub refresh: Option<String>,
}

/// Issue of tokens, and their check without I/O.
pub(crate) struct Tokens {
    pub(crate) keys: Arc<ActiveKeys>,
    pub(crate) rules: TokenRules,
    pub(crate) shape: TokenShape,
}

impl Tokens {
    /// Issues a new access token and the refresh token of the session's present generation. The
    /// bytes of the latter are the same for each call.
    pub(crate) fn issue(
        &self,
        session: &Session,
        user: &User,
        now: Moment,
        jti: String,
    ) -> Result<TokenPair, Error> {
        let access = self.issue_access(session, user, now, jti)?;
        Ok(TokenPair {
            access,
            refresh: Some(self.issue_refresh(session)?),
        })
    }

    pub(crate) fn issue_access(
        &self,
        session: &Session,
        user: &User,
        now: Moment,
        jti: String,
    ) -> Result<String, Error> {
        let rules = &self.rules;
        let lifetime = rules.access_lifetime
            - random::up_to(rules.access_jitter).map_err(|_| no_randomness())?;
        let claims = AccessClaims::of(session, user, jti, now, lifetime, &rules.extra);
        let keys = self.keys.current();
        let key = keys.ring.signer(Kind::Access, now).ok_or_else(no_key)?;
        self.shape
            .access(key, &claims)
            .map_err(|error| Error::Internal(error.to_string()))
    }

    /// Issues the refresh token. It is signed with the secret that was in use at the rotation,
    /// so that a new secret does not change it.
    fn issue_refresh(&self, session: &Session) -> Result<String, Error> {
        let claims = RefreshClaims::of(session, self.rules.refresh_lifetime);
        let keys = self.keys.current();
        let key = keys
            .ring
            .signer(Kind::Refresh, session.rotated_at)
            .ok_or_else(no_key)?;
        self.shape
            .refresh(key, &claims)
            .map_err(|error| Error::Internal(error.to_string()))
    }

    /// Checks signature, times and issuer of a token that may be presented often.
    pub(crate) fn check_cached(&self, token: &str, now: Moment) -> Result<Checked, Error> {
        Ok(self.keys.verify_cached(token, now)?)
    }

    /// Checks signature, times and issuer of a token.
    pub(crate) fn check(&self, token: &str, now: Moment) -> Result<Checked, Error> {
        Ok(self.keys.verify(token, now)?)
    }

    /// Returns the policy for the claims of a token.
    pub(crate) fn policy(&self) -> &Policy {
        self.keys.policy()
    }
}

fn no_randomness() -> Error {
    Error::Internal(random::NoRandomness.to_string())
}

fn no_key() -> Error {
    Error::Unavailable("no signing key".to_owned())
}
