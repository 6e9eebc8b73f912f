//! Why a token was refused.

/// The first reason that was found, in the order of the checks: form, key, signature, time, issuer and audience,
/// then what must be there.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum VerifyError {
    /// The header's `alg` is not the one that the key is for (RFC 8725, section 3.1).
    #[error("the token's algorithm is not its key's")]
    Algorithm,
    /// `aud` does not name the expected audience (RFC 7519, section 4.1.3).
    #[error("the token is for another audience")]
    Audience,
    /// A registered claim has a value of the wrong type, or one that makes no sense.
    #[error("the claim `{0}` has an impossible value")]
    Claim(&'static str),
    /// `exp` has passed (RFC 7519, section 4.1.4).
    #[error("the token has expired")]
    Expired,
    /// The header asks for something that this crate does not do: `crit`, `b64`, an unknown algorithm.
    #[error("the token's header is not acceptable")]
    Header,
    /// `iss` is not the expected issuer (RFC 7519, section 4.1.1).
    #[error("the token is from another issuer")]
    Issuer,
    /// Not a compact JWS of three strict base64url segments that hold JSON objects (RFC 7515, section 7.1).
    #[error("not a signed token in compact form")]
    Malformed,
    /// There is no `exp`.
    #[error("the token has no expiry")]
    MissingExpiry,
    /// There is no token id.
    #[error("the token has no id")]
    MissingId,
    /// There is no token type claim.
    #[error("the token has no type")]
    MissingType,
    /// `nbf` or `iat` lies in the future (RFC 7519, sections 4.1.5 and 4.1.6).
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The signature does not fit.
    #[error("the token's signature does not fit")]
    Signature,
    /// Longer than [`MAX_TOKEN_LENGTH`](crate::MAX_TOKEN_LENGTH).
    #[error("the token is too long")]
    TooLong,
    /// The header's `typ` is not the one of this key's tokens (RFC 8725, section 3.11).
    #[error("the token's header names another kind of token")]
    Typ,
    /// The `kid` names no key in the set.
    #[error("the token was signed with an unknown key")]
    UnknownKey,
    /// The token is of another type than the one asked for.
    #[error("the token is of another type")]
    WrongType,
}

impl VerifyError {
    /// A short label for logs and metrics. Labels are few and stable.
    #[must_use]
    pub const fn cause(self) -> &'static str {
        match self {
            Self::Algorithm => "algorithm",
            Self::Audience => "audience",
            Self::Claim(_) => "claim",
            Self::Expired => "expired",
            Self::Header => "header",
            Self::Issuer => "issuer",
            Self::Malformed => "malformed",
            Self::MissingExpiry => "no_expiry",
            Self::MissingId => "no_id",
            Self::MissingType => "no_type",
            Self::NotYetValid => "not_yet_valid",
            Self::Signature => "signature",
            Self::TooLong => "too_long",
            Self::Typ | Self::WrongType => "wrong_type",
            Self::UnknownKey => "unknown_key",
        }
    }
}
