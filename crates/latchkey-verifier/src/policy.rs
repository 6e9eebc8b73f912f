//! Requirements of a verifier.

/// Kind of token. Each key signs tokens of one kind only.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// Short-lived token for any service, with the header `typ: at+jwt` (RFC 9068, section 2.1).
    Access,
    /// Long-lived token for the issuing server only, with the header `typ: rt+jwt`.
    Refresh,
}

impl Kind {
    /// Returns the value of the token type claim, as in simplejwt.
    #[must_use]
    pub const fn token_type(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
        }
    }
}

/// Names of the claims that can be renamed in simplejwt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClaimNames {
    /// simplejwt's `JTI_CLAIM`, by default `jti`.
    pub jti: String,
    /// simplejwt's `TOKEN_TYPE_CLAIM`, by default `token_type`.
    pub token_type: String,
    /// simplejwt's `USER_ID_CLAIM`, by default `user_id`.
    pub user_id: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            jti: "jti".to_owned(),
            token_type: "token_type".to_owned(),
            user_id: "user_id".to_owned(),
        }
    }
}

/// Accepted issuer and audience, and tolerance for clocks.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Header `typ` of access tokens, compared exactly. By default `at+jwt`.
    pub access_typ: String,
    /// Required audience of access tokens. `None` accepts any `aud`.
    pub audience: Option<String>,
    /// Issuer, compared exactly.
    pub issuer: String,
    /// Tolerance in seconds for `exp`, `nbf` and `iat`. By default 0.
    pub leeway: u32,
    /// Names of the claims.
    pub names: ClaimNames,
}

/// Header `typ` of refresh tokens.
pub(crate) const REFRESH_TYP: &str = "rt+jwt";

impl Policy {
    /// Returns a policy for tokens of `issuer`, with the defaults for all other fields.
    #[must_use]
    pub fn new(issuer: impl Into<String>) -> Self {
        Self {
            access_typ: "at+jwt".to_owned(),
            audience: None,
            issuer: issuer.into(),
            leeway: 0,
            names: ClaimNames::default(),
        }
    }

    pub(crate) fn typ(&self, kind: Kind) -> &str {
        match kind {
            Kind::Access => &self.access_typ,
            Kind::Refresh => REFRESH_TYP,
        }
    }

    /// Returns the required audience. That of a refresh token is its issuer.
    pub(crate) fn audience(&self, kind: Kind) -> Option<&str> {
        match kind {
            Kind::Access => self.audience.as_deref(),
            Kind::Refresh => Some(&self.issuer),
        }
    }
}
