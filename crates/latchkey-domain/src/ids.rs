//! Ids as distinct types, so that the compiler detects a mix-up.

use std::fmt;

use uuid::Uuid;

/// User id, as in the claims `sub` and `user_id`. A UUID, unless the user was imported.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UserId(String);

impl UserId {
    /// Wraps any text, because ids are only compared.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Id of a deployment: one database and all instances that use it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeploymentId(String);

impl DeploymentId {
    /// Wraps a text without a colon.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Session id, the claim `sid`. It is random and cannot be guessed.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionId(Uuid);

impl SessionId {
    /// Wraps a random UUID.
    #[must_use]
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Parses the canonical form (lowercase, with hyphens). Returns `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let id = Self(Uuid::try_parse(text).ok()?);
        (id.encode(&mut [0; Self::LENGTH]) == text).then_some(id)
    }

    /// Length of the canonical form in bytes.
    pub const LENGTH: usize = uuid::fmt::Hyphenated::LENGTH;

    /// Writes the canonical form into `buffer`.
    #[must_use]
    pub fn encode(self, buffer: &mut [u8; Self::LENGTH]) -> &str {
        self.0.hyphenated().encode_lower(buffer)
    }

    /// Returns the `jti` of the refresh token of this generation, as 32 lowercase hex digits. It is
    /// the UUID version 5 (RFC 9562, section 5.5) of the session and the generation, so the same
    /// row always has the same id.
    #[must_use]
    pub fn refresh_jti(self, generation: u32) -> String {
        Uuid::new_v5(&self.0, &generation.to_be_bytes())
            .simple()
            .to_string()
    }
}

impl SessionId {
    /// Returns true if the text has the form of a [`refresh_jti`](Self::refresh_jti): 32 lowercase
    /// hex digits, of which two encode the version and the variant (RFC 9562, section 4). One in 64
    /// random ids has this form.
    #[must_use]
    pub fn may_be_refresh_jti(text: &str) -> bool {
        let digits = text.len() == 32
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        digits
            && text.get(12..13) == Some("5")
            && matches!(text.get(16..17), Some("8" | "9" | "a" | "b"))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}
