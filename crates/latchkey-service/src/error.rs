//! Errors of the use cases. The HTTP layer maps them to responses.

use latchkey_verifier::VerifyError;

use latchkey_crypto::hasher::HashError;
use latchkey_domain::ports::StoreError;

/// Refusal or failure. A refused token also has a precise cause, which goes to logs and metrics but
/// never into a response.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Unknown user, wrong password or inactive user. The three are not distinguished.
    #[error("bad credentials")]
    BadCredentials,
    /// The queue of the password hasher is full.
    #[error("the hashing queue is full")]
    Busy,
    /// Internal failure that no request should cause.
    #[error("internal error: {0}")]
    Internal(String),
    /// Refresh for a user that is inactive or deleted.
    #[error("the user is inactive or deleted")]
    NoActiveAccount,
    /// No such session, or a session of another user.
    #[error("no such session")]
    NoSession,
    /// Access token without the user id claim.
    #[error("the token names no user")]
    NoUserIdentification,
    /// Too much work is in progress, in total or for one session or source.
    #[error("overloaded")]
    Overloaded,
    /// The token is refused.
    #[error("the token is refused: {cause}")]
    Token {
        /// Category, from which the response is derived.
        detail: TokenDetail,
        /// Precise cause, for logs and metrics.
        cause: &'static str,
    },
    /// A required store cannot be reached.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// Access token of an inactive user.
    #[error("the user is inactive")]
    UserInactive,
    /// Access token of a deleted user.
    #[error("the user does not exist")]
    UserNotFound,
}

/// Category of a refused token, after the messages of simplejwt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenDetail {
    /// Revoked, spent, or of a stale epoch.
    Blacklisted,
    /// Expired.
    Expired,
    /// Not a valid token of this service.
    Invalid,
    /// The claim `exp` is missing.
    NoExpiry,
    /// The token id is missing.
    NoId,
    /// The token type is missing.
    NoType,
    /// The token has another type.
    WrongType,
}

impl Error {
    /// Returns the error of a refused token, with the cause for the log.
    #[must_use]
    pub const fn token(detail: TokenDetail, cause: &'static str) -> Self {
        Self::Token { detail, cause }
    }

    /// Returns the label of the error for logs and metrics.
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
