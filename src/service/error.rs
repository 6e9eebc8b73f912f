//! Why a use case did not do what it was asked. What it looks like on the wire is the HTTP layer's.

use latchkey_verifier::VerifyError;

use crate::{crypto::hasher::HashError, ports::StoreError};

/// A refusal or a failure. Each refusal of a token also has a precise cause, for logs and metrics: never on the wire.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Unknown user, wrong password, or inactive: one answer for all three.
    #[error("bad credentials")]
    BadCredentials,
    /// Too many passwords are being hashed.
    #[error("the hashing queue is full")]
    Busy,
    /// Something broke that no request should break.
    #[error("internal error: {0}")]
    Internal(String),
    /// A refresh for a user who is inactive or gone.
    #[error("the user is inactive or gone")]
    NoActiveAccount,
    /// No such session, or another user's.
    #[error("there is no such session")]
    NoSession,
    /// An access token without the user id claim.
    #[error("the token names no user")]
    NoUserIdentification,
    /// Too much work is in progress, in total or for one client.
    #[error("overloaded")]
    Overloaded,
    /// The token is refused.
    #[error("the token is refused: {cause}")]
    Token {
        /// What the client is told.
        detail: TokenDetail,
        /// What the log is told.
        cause: &'static str,
    },
    /// A store that is needed cannot be reached.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// An access token of a user who is inactive.
    #[error("the user is inactive")]
    UserInactive,
    /// An access token of a user who is gone.
    #[error("the user is gone")]
    UserNotFound,
}

/// simplejwt's words for a token that is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenDetail {
    /// It was revoked, spent or cut off.
    Blacklisted,
    /// Its time is over.
    Expired,
    /// It is not a token of ours.
    Invalid,
    /// It has no `exp`.
    NoExpiry,
    /// It has no id.
    NoId,
    /// It has no type.
    NoType,
    /// It is of another type.
    WrongType,
}

impl Error {
    pub(crate) const fn token(detail: TokenDetail, cause: &'static str) -> Self {
        Self::Token { detail, cause }
    }

    /// A label for logs and metrics.
    #[must_use]
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::BadCredentials => "bad_credentials",
            Self::Busy => "busy",
            Self::Internal(_) => "internal",
            Self::NoActiveAccount | Self::UserInactive => "user_inactive",
            Self::NoSession => "no_session",
            Self::NoUserIdentification => "no_user_id",
            Self::Overloaded => "overloaded",
            Self::Token { cause, .. } => cause,
            Self::Unavailable(_) => "unavailable",
            Self::UserNotFound => "user_not_found",
        }
    }
}

impl From<VerifyError> for Error {
    fn from(refusal: VerifyError) -> Self {
        let detail = match refusal {
            VerifyError::Expired => TokenDetail::Expired,
            VerifyError::MissingExpiry => TokenDetail::NoExpiry,
            VerifyError::MissingId => TokenDetail::NoId,
            VerifyError::MissingType => TokenDetail::NoType,
            VerifyError::WrongType => TokenDetail::WrongType,
            VerifyError::Algorithm
            | VerifyError::Audience
            | VerifyError::Claim(_)
            | VerifyError::Header
            | VerifyError::Issuer
            | VerifyError::Malformed
            | VerifyError::NotYetValid
            | VerifyError::Signature
            | VerifyError::TooLong
            | VerifyError::Typ
            | VerifyError::UnknownKey => TokenDetail::Invalid,
        };
        Self::token(detail, refusal.cause())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Failed(text) => Self::Internal(text),
            StoreError::Overloaded => Self::Overloaded,
            StoreError::Unavailable(text) => Self::Unavailable(text),
        }
    }
}

impl From<HashError> for Error {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Busy => Self::Busy,
            HashError::Failed => Self::Internal(error.to_string()),
        }
    }
}
