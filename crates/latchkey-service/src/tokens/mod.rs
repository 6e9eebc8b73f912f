//! Conversion between tokens and rows of sessions.

use chrono::TimeDelta;
use latchkey_verifier::{Checked, Claims, Kind};

use crate::{Auth, ClientInfo, Error, TokenDetail, admission::Admitted, reuse::Call};
use latchkey_crypto::random;
use latchkey_domain::{
    claims::{AccessClaims, ExtraClaim, RefreshClaims},
    ids::{SessionId, UserId},
    ports::TokenRef,
    session::{MAX_EPOCH, MAX_GENERATION, Session, SessionState},
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

impl Auth {
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
        let rules = &self.parts.rules.tokens;
        let lifetime = rules.access_lifetime
            - random::up_to(rules.access_jitter).map_err(|_| no_randomness())?;
        let claims = AccessClaims::of(session, user, jti, now, lifetime, &rules.extra);
        let keys = self.parts.keys.current();
        let key = keys.ring.signer(Kind::Access, now).ok_or_else(no_key)?;
        self.parts
            .shape
            .access(key, &claims)
            .map_err(|error| Error::Internal(error.to_string()))
    }

    /// Issues the refresh token. It is signed with the secret that was in use at the rotation,
    /// so that a new secret does not change it.
    fn issue_refresh(&self, session: &Session) -> Result<String, Error> {
        let claims = RefreshClaims::of(session, self.parts.rules.tokens.refresh_lifetime);
        let keys = self.parts.keys.current();
        let key = keys
            .ring
            .signer(Kind::Refresh, session.rotated_at)
            .ok_or_else(no_key)?;
        self.parts
            .shape
            .refresh(key, &claims)
            .map_err(|error| Error::Internal(error.to_string()))
    }

    /// Checks the claims of a refresh token, but not its session. If claims are missing, a
    /// revocation is reported first, as simplejwt does.
    pub(crate) async fn check_refresh(
        &self,
        checked: &Checked,
        call: Call<'_>,
    ) -> Result<(TokenRef, u32), Error> {
        if let Err(refusal) = checked.require(Kind::Refresh, self.parts.keys.policy()) {
            if let (Kind::Refresh, Ok(token)) = (checked.kind(), token_ref(checked)) {
                Box::pin(self.check_revocation(&token, Kind::Refresh, call)).await?;
            }
            return Err(refusal.into());
        }
        let token = token_ref(checked)?;
        let generation = token.generation.ok_or_else(invalid)?;
        Ok((token, generation))
    }

    /// Admits a request with a valid token, by its session and its client.
    pub(crate) async fn admit(
        &self,
        checked: &Checked,
        client: &ClientInfo,
    ) -> Result<Admitted, Error> {
        self.parts
            .admission
            .enter(client, session_id(checked.claims()))
            .await
    }

    /// Verifies signature, times and issuer of a token that may be presented often.
    pub(crate) fn verify_cached(&self, token: &str, now: Moment) -> Result<Checked, Error> {
        Ok(self.parts.keys.verify_cached(token, now)?)
    }

    /// Verifies signature, times and issuer of a token.
    pub(crate) fn verify_token(&self, token: &str, now: Moment) -> Result<Checked, Error> {
        Ok(self.parts.keys.verify(token, now)?)
    }
}

/// Returns the reference to the token's row. A counter that exceeds the range of its column is
/// refused, so that it never reaches a store.
pub(crate) fn token_ref(checked: &Checked) -> Result<TokenRef, Error> {
    let claims = checked.claims();
    let counter = |name: &str, last: u32| {
        claims
            .number(name)
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| *n <= last)
    };
    Ok(TokenRef {
        session: session_id(claims).ok_or_else(invalid)?,
        // Postgres cannot store a NUL character, so no user id has one.
        user: claims
            .subject()
            .filter(|sub| !sub.contains('\0'))
            .map(UserId::new)
            .ok_or_else(invalid)?,
        session_epoch: counter("ver", MAX_EPOCH).ok_or_else(invalid)?,
        generation: match checked.kind() {
            Kind::Access => None,
            Kind::Refresh => Some(counter("gen", MAX_GENERATION).ok_or_else(invalid)?),
        },
    })
}

fn session_id(claims: &Claims) -> Option<SessionId> {
    SessionId::parse(claims.text("sid")?)
}

/// Returns the state if the session exists and matches the token. A signed token without a session
/// indicates a leaked key or a restored database.
pub(crate) fn matching_session(
    state: Option<SessionState>,
    token: &TokenRef,
) -> Result<SessionState, Error> {
    match state {
        Some(state)
            if state.session.user_id == token.user
                && state.session.session_epoch == token.session_epoch =>
        {
            Ok(state)
        }
        _ => Err(Error::token(TokenDetail::Invalid, "unknown_session")),
    }
}

pub(crate) const fn blacklisted(cause: &'static str) -> Error {
    Error::token(TokenDetail::Blacklisted, cause)
}

pub(crate) const fn ended() -> Error {
    Error::token(TokenDetail::Expired, "session_ended")
}

pub(crate) const fn invalid() -> Error {
    Error::token(TokenDetail::Invalid, "claim")
}

pub(crate) const fn unknown_generation() -> Error {
    Error::token(TokenDetail::Invalid, "unknown_generation")
}

fn no_randomness() -> Error {
    Error::Internal(random::NoRandomness.to_string())
}

fn no_key() -> Error {
    Error::Unavailable("no signing key".to_owned())
}
