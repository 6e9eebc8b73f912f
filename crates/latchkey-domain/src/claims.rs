//! Claims of both kinds of token. `sid` is the session, `gen` its generation, and `ver` the session
//! epoch of the user at the sign-in. Encoding and signing are in the crypto layer.

use chrono::TimeDelta;

use super::{session::Session, time::Moment, user::User};

/// Claims of a refresh token. They are a pure function of the session's row, so that a repeat
/// returns identical bytes and no token has to be stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RefreshClaims {
    /// `sub` and the user id claim.
    pub subject: String,
    /// Time of the rotation, in seconds since 1970.
    pub issued_at: i64,
    /// Expiry in seconds since 1970, at most that of the session.
    pub expires_at: i64,
    /// UUID version 5 of session and generation.
    pub jti: String,
    /// Session id.
    pub sid: String,
    /// `gen`: the generation.
    pub generation: u32,
    /// `ver`: the session epoch of the user at sign-in.
    pub session_epoch: u32,
}

impl RefreshClaims {
    /// Returns the claims for the session's current generation.
    #[must_use]
    pub fn of(session: &Session, lifetime: TimeDelta) -> Self {
        Self {
            subject: session.user_id.to_string(),
            issued_at: session.rotated_at.timestamp(),
            expires_at: end(session, session.rotated_at, lifetime),
            jti: session.id.refresh_jti(session.generation),
            sid: session.id.to_string(),
            generation: session.generation,
            session_epoch: session.session_epoch,
        }
    }
}

/// Claims of an access token (RFC 9068, section 2.2, and those of simplejwt).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccessClaims {
    /// `sub` and the user id claim.
    pub subject: String,
    /// Time of issue, in seconds since 1970.
    pub issued_at: i64,
    /// Expiry in seconds since 1970, at most that of the session.
    pub expires_at: i64,
    /// 32 lowercase hex digits.
    pub jti: String,
    /// Session id.
    pub sid: String,
    /// `ver`: the session epoch of the user at sign-in.
    pub session_epoch: u32,
    /// Additional claims about the user that the settings enable.
    pub extra: Vec<(ExtraClaim, ExtraValue)>,
}

impl AccessClaims {
    /// Returns the claims for a token issued at `now`.
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
            session_epoch: session.session_epoch,
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

/// Fact about the user that access tokens may contain.
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

/// Value of an [`ExtraClaim`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ExtraValue {
    /// Boolean.
    Flag(bool),
    /// Text.
    Text(String),
}

impl ExtraClaim {
    /// All additional claims.
    pub const ALL: [Self; 5] = [
        Self::Email,
        Self::FirstName,
        Self::IsStaff,
        Self::LastName,
        Self::Username,
    ];

    /// Returns the name of the claim, which is Django's name of the field.
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
