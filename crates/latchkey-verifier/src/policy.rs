//! What a verifier expects of a token.

/// The two kinds of token. A key signs tokens of one kind only.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// Short-lived, for any service; header `typ: at+jwt` (RFC 9068, section 2.1).
    Access,
    /// Long-lived, for the issuing server alone; header `typ: rt+jwt`.
    Refresh,
}

impl Kind {
    /// The value of the token type claim, as in simplejwt.
    #[must_use]
    pub const fn token_type(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
        }
    }
}

/// The names of the claims that simplejwt lets people rename.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClaimNames {
    /// simplejwt's `JTI_CLAIM`, `jti` by default.
    pub jti: String,
    /// simplejwt's `TOKEN_TYPE_CLAIM`, `token_type` by default.
    pub token_type: String,
    /// simplejwt's `USER_ID_CLAIM`, `user_id` by default.
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

/// Whose tokens are accepted, for whom, and with how much tolerance for clocks.
#[derive(Clone, Debug)]
pub struct Policy {
    /// `typ` of an access token's header, compared exactly. `at+jwt` by default.
    pub access_typ: String,
    /// The audience that an access token must name. `None`: `aud` is not looked at.
    pub audience: Option<String>,
    /// The issuer, compared exactly.
    pub issuer: String,
    /// Tolerance in seconds for `exp`, `nbf` and `iat` alike. 0 by default.
    pub leeway: u32,
    /// The names of the claims.
    pub names: ClaimNames,
}

/// `typ` of a refresh token's header.
pub(crate) const REFRESH_TYP: &str = "rt+jwt";

impl Policy {
    /// Tokens of `issuer`, with the defaults for all the rest.
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

    /// A refresh token is for its issuer, which is its audience.
    pub(crate) fn audience(&self, kind: Kind) -> Option<&str> {
        match kind {
            Kind::Access => self.audience.as_deref(),
            Kind::Refresh => Some(&self.issuer),
        }
    }
}
