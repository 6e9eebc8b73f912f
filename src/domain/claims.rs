//! What goes into the two kinds of token. How it is written and signed is the crypto layer's.

use chrono::TimeDelta;

use super::{session::Session, time::Moment, user::User};

/// The claims of a refresh token: a pure function of the session row, so a retry gets the identical bytes and no
/// token has to be stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RefreshClaims {
    /// `sub` and the user id claim.
    pub subject: String,
    /// Seconds since 1970: when this generation was made.
    pub issued_at: i64,
    /// Seconds since 1970: the end, never after the session's.
    pub expires_at: i64,
    /// UUID version 5 of session and generation.
    pub jti: String,
    /// The session.
    pub sid: String,
    /// The generation.
    pub generation: u32,
    /// The user's cut-off counter at sign-in.
    pub version: u32,
}

impl RefreshClaims {
    /// The claims of the session's present generation.
    #[must_use]
    pub fn of(session: &Session, lifetime: TimeDelta) -> Self {
        Self {
            subject: session.user_id.to_string(),
            issued_at: session.rotated_at.timestamp(),
            expires_at: end(session, session.rotated_at, lifetime),
            jti: session.id.refresh_jti(session.generation),
            sid: session.id.to_string(),
            generation: session.generation,
            version: session.session_epoch,
        }
    }
}

/// The claims of an access token (RFC 9068, section 2.2, and simplejwt's).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccessClaims {
    /// `sub` and the user id claim.
    pub subject: String,
    /// Seconds since 1970.
    pub issued_at: i64,
    /// Seconds since 1970, never after the session's end.
    pub expires_at: i64,
    /// 32 lowercase hex digits.
    pub jti: String,
    /// The session.
    pub sid: String,
    /// The user's cut-off counter at sign-in.
    pub version: u32,
    /// What the settings add of the user, read from the database just now.
    pub extra: Vec<(ExtraClaim, ExtraValue)>,
}

impl AccessClaims {
    /// Claims for a token made at `now`.
    #[must_use]
    pub fn of(
        session: &Session,
        user: &User,
        jti: String,
        now: Moment,
        lifetime: TimeDelta,
        extra: &[ExtraClaim],
    ) -> Self {
        Self {
            subject: session.user_id.to_string(),
            issued_at: now.timestamp(),
            expires_at: end(session, now, lifetime),
            jti,
            sid: session.id.to_string(),
            version: session.session_epoch,
            extra: extra
                .iter()
                .map(|claim| (*claim, claim.value(user)))
                .collect(),
        }
    }
}

fn end(session: &Session, from: Moment, lifetime: TimeDelta) -> i64 {
    (from.timestamp() + lifetime.num_seconds()).min(session.expires_at.timestamp())
}

/// A fact about the user that access tokens may carry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExtraClaim {
    /// `email`
    Email,
    /// `first_name`
    FirstName,
    /// `is_staff`
    IsStaff,
    /// `last_name`
    LastName,
    /// `username`
    Username,
}

/// The value of an [`ExtraClaim`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ExtraValue {
    /// A yes or a no.
    Flag(bool),
    /// A text.
    Text(String),
}

impl ExtraClaim {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Email,
        Self::FirstName,
        Self::IsStaff,
        Self::LastName,
        Self::Username,
    ];

    /// The claim's name, which is Django's name of the field.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::FirstName => "first_name",
            Self::IsStaff => "is_staff",
            Self::LastName => "last_name",
            Self::Username => "username",
        }
    }

    fn value(self, user: &User) -> ExtraValue {
        match self {
            Self::Email => ExtraValue::Text(user.email.clone()),
            Self::FirstName => ExtraValue::Text(user.first_name.clone()),
            Self::IsStaff => ExtraValue::Flag(user.is_staff),
            Self::LastName => ExtraValue::Text(user.last_name.clone()),
            Self::Username => ExtraValue::Text(user.username.clone()),
        }
    }
}
