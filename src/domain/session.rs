//! Sessions: a family of refresh tokens, one row for its whole life, and what that row means for a token.

use chrono::TimeDelta;

use super::{
    ids::{SessionId, UserId},
    time::Moment,
    user::User,
};

/// The largest cut-off counter of a user that a store holds: its column is a signed integer of four bytes.
pub const MAX_EPOCH: u32 = i32::MAX.unsigned_abs();

/// The largest generation that can be exchanged: the next one must fit into its column as well.
pub const MAX_GENERATION: u32 = MAX_EPOCH - 1;

/// One sign-in on one device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Session {
    /// The claim `sid`.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// The user's cut-off counter at sign-in: the claim `ver`.
    pub session_epoch: u32,
    /// How often the refresh token has been rotated: the claim `gen`.
    pub generation: u32,
    /// When the user signed in.
    pub created_at: Moment,
    /// When the refresh token of this generation was made.
    pub rotated_at: Moment,
    /// The absolute end.
    pub expires_at: Moment,
    /// When it was revoked, and why.
    pub revoked: Option<(Moment, RevokedReason)>,
    /// The address that the last refresh came from.
    pub last_ip: Option<String>,
    /// The `User-Agent` at sign-in or at the last refresh.
    pub user_agent: Option<String>,
}

/// Why a session was revoked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RevokedReason {
    /// Its refresh token was blacklisted: somebody signed out.
    LoggedOut,
    /// An operator ended it.
    Operator,
    /// A refresh token that had been spent came back (RFC 9700, section 4.14.2).
    Reuse,
    /// The user has signed in so often that the oldest session had to go.
    SessionLimit,
    /// The user ended it from another session.
    User,
}

impl RevokedReason {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::LoggedOut,
        Self::Operator,
        Self::Reuse,
        Self::SessionLimit,
        Self::User,
    ];

    /// As it is stored, logged and counted.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LoggedOut => "logged_out",
            Self::Operator => "operator",
            Self::Reuse => "reuse",
            Self::SessionLimit => "session_limit",
            Self::User => "ended_by_user",
        }
    }

    /// The reason of this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// A session and its user, read at one moment. No user: the account was deleted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionState {
    /// The session.
    pub session: Session,
    /// Its user.
    pub user: Option<User>,
}

/// What a refresh token of some generation is worth.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenStatus {
    /// It is the live generation.
    Current,
    /// It was just rotated: the same successor is due again.
    Grace,
    /// It was spent: whoever sends it now is not the one who holds the successor.
    Spent,
    /// A generation that was never issued, though the signature is ours: a database restored from a backup.
    UnknownGeneration,
    /// The session was revoked.
    Revoked(RevokedReason),
    /// The user's cut-off came after the sign-in.
    StaleEpoch,
    /// The user is inactive or gone.
    NoActiveUser,
    /// The session's absolute end has passed.
    Ended,
}

/// Longer than any request waits for its turn.
const MAX_QUEUE_TIME: TimeDelta = TimeDelta::minutes(1);

/// How long a spent token may still come back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReuseGrace {
    /// For the immediate parent, this long after the rotation.
    Window(TimeDelta),
    /// For ever: simplejwt's `BLACKLIST_AFTER_ROTATION = False`.
    Unlimited,
}

impl SessionState {
    /// What the refresh token of `generation` is worth at `now`.
    ///
    /// `now` is when the request came. The window counts from the rotation and never moves: a replay writes nothing. A
    /// request that came before the rotation and waited is inside the window; one from long before is a clock that was
    /// set back, and that opens no window again.
    #[must_use]
    pub fn token_status(&self, generation: u32, now: Moment, grace: ReuseGrace) -> TokenStatus {
        let Self { session, user } = self;
        if let Some((_, reason)) = session.revoked {
            return TokenStatus::Revoked(reason);
        }
        if generation > session.generation {
            return TokenStatus::UnknownGeneration;
        }
        let active = user.as_ref().filter(|user| user.is_active);
        // A dead session has nothing left to steal: its old tokens are refused, but they revoke nothing.
        let Some(user) = active else {
            return TokenStatus::NoActiveUser;
        };
        if user.session_epoch != session.session_epoch {
            return TokenStatus::StaleEpoch;
        }
        if session.expires_at <= now {
            return TokenStatus::Ended;
        }
        if generation == session.generation {
            return TokenStatus::Current;
        }
        let forgiven = match grace {
            ReuseGrace::Unlimited => true,
            ReuseGrace::Window(window) => {
                let age = now - session.rotated_at;
                let parent = generation + 1 == session.generation;
                window > TimeDelta::zero()
                    && parent
                    && age <= window
                    && -age <= window.max(MAX_QUEUE_TIME)
            }
        };
        if forgiven {
            TokenStatus::Grace
        } else {
            TokenStatus::Spent
        }
    }

    /// What an access token of this session with the counter `version` is worth at `now`.
    #[must_use]
    pub fn access_token_status(&self, version: u32, now: Moment) -> TokenStatus {
        match self.token_status(self.session.generation, now, ReuseGrace::Unlimited) {
            TokenStatus::Current if version != self.session.session_epoch => {
                TokenStatus::StaleEpoch
            }
            standing => standing,
        }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
