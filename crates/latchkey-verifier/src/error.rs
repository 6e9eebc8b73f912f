//! Errors of token verification.

/// First reason for which a token is refused. The order of the checks is: format, key, signature,
/// times, issuer and audience, required claims.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum VerifyError {
    /// The header's `alg` differs from the algorithm of the key (RFC 8725, section 3.1).
    #[error("the algorithm of the token differs from that of its key")]
    Algorithm,
    /// `aud` does not contain the expected audience (RFC 7519, section 4.1.3).
    #[error("the token is for another audience")]
    Audience,
    /// A registered claim has a value of the wrong type or out of range.
    #[error("the claim `{0}` has an invalid value")]
    Claim(&'static str),
    /// `exp` has passed (RFC 7519, section 4.1.4).
    #[error("the token has expired")]
    Expired,
    /// The header requires an unsupported feature: `crit`, `b64` or an unknown algorithm.
    #[error("the header of the token is not supported")]
    Header,
    /// `iss` is not the expected issuer (RFC 7519, section 4.1.1).
    #[error("the token is from another issuer")]
    Issuer,
    /// Not a compact JWS of three strict base64url segments with JSON objects (RFC 7515, section
    /// 7.1).
    #[error("not a signed token in compact form")]
    Malformed,
    /// The claim `exp` is missing.
    #[error("the token has no expiry")]
    MissingExpiry,
    /// The token id (by default the claim `jti`) is missing.
    #[error("the token has no id")]
    MissingId,
    /// The token type claim is missing.
    #[error("the token has no type")]
    MissingType,
    /// `nbf` or `iat` is in the future (RFC 7519, sections 4.1.5 and 4.1.6).
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The signature is not valid.
    #[error("the signature of the token is not valid")]
    Signature,
    /// Longer than [`MAX_TOKEN_LENGTH`](crate::MAX_TOKEN_LENGTH).
    #[error("the token is too long")]
    TooLong,
    /// The header's `typ` is not that of the key's tokens (RFC 8725, section 3.11).
    #[error("the header of the token is that of another type")]
    Typ,
    /// The set has no key with this `kid`.
    #[error("the token was signed with an unknown key")]
    UnknownKey,
    /// The token has another type than the expected one.
    #[error("the token has another type")]
    WrongType,
}

impl VerifyError {
    /// Returns a short label for logs and metrics. The labels are stable, and their number is
    /// small.
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
