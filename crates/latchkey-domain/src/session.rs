//! Sessions: one row per sign-in for its whole lifetime, and the status of its tokens.

use chrono::TimeDelta;

use super::{
    ids::{SessionId, UserId},
    time::Moment,
    user::User,
};

/// Maximum session epoch, limited by the column type: a signed integer of four bytes.
pub const MAX_EPOCH: u32 = i32::MAX.unsigned_abs();

/// Maximum generation that can be rotated, because the next one must fit into its column as well.
pub const MAX_GENERATION: u32 = MAX_EPOCH - 1;

/// One sign-in of one user on one device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Session {
    /// Session id, the claim `sid`.
    pub id: SessionId,
    /// User of the session.
    pub user_id: UserId,
    /// Session epoch of the user at sign-in, the claim `ver`.
    pub session_epoch: u32,
    /// Number of rotations, the claim `gen`.
    pub generation: u32,
    /// Time of the sign-in.
    pub created_at: Moment,
    /// Time of the last rotation, or of the sign-in for generation 0.
    pub rotated_at: Moment,
    /// Absolute expiry.
    pub expires_at: Moment,
    /// Time and reason of the revocation, if revoked.
    pub revoked: Option<(Moment, RevokedReason)>,
    /// Client address of the last rotation, or of the sign-in.
    pub last_ip: Option<String>,
    /// `User-Agent` of the last rotation, or of the sign-in.
    pub user_agent: Option<String>,
}

/// Reason of a revocation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RevokedReason {
    /// Log-out: the refresh token was blacklisted.
    LoggedOut,
    /// Revoked by an operator.
    Operator,
    /// Reuse of a spent refresh token (RFC 9700, section 4.14.2).
    Reuse,
    /// Oldest session of a user beyond the session limit.
    SessionLimit,
    /// Ended by the user from another session.
    User,
}

impl RevokedReason {
    /// All reasons.
    pub const ALL: [Self; 5] = [
        Self::LoggedOut,
        Self::Operator,
        Self::Reuse,
        Self::SessionLimit,
        Self::User,
    ];

    /// Returns the label that is stored, logged and counted.
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

    /// Parses a label.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// Session and its user, read at one moment. There is no user if the account was deleted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionState {
    /// Session.
    pub session: Session,
    /// User, or `None` if deleted.
    pub user: Option<User>,
}

/// Status of a refresh token, or of an access token as one of the current generation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenStatus {
    /// Current generation.
    Current,
    /// Spent, but within the reuse grace: the same successor is issued again.
    Grace,
    /// Spent, and outside the reuse grace.
    Spent,
    /// Generation that was never issued, although the signature is valid. The database was restored
    /// from a backup.
    UnknownGeneration,
    /// Session revoked.
    Revoked(RevokedReason),
    /// Session epoch of the user raised since the sign-in.
    StaleEpoch,
    /// User inactive or deleted.
    NoActiveUser,
    /// Session expired.
    Ended,
}

/// Upper bound of the time that a request waits in queues.
const MAX_QUEUE_TIME: TimeDelta = TimeDelta::minutes(1);

/// Reuse grace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReuseGrace {
    /// For the direct predecessor of the current generation, this long after the rotation.
    Window(TimeDelta),
    /// For all generations without limit: simplejwt's `BLACKLIST_AFTER_ROTATION = False`.
    Unlimited,
}

impl SessionState {
    /// Returns the status of the refresh token of `generation` at `now`, the arrival of the
    /// request.
    ///
    /// The window of the grace starts at the rotation, and repeats do not extend it. A request that
    /// arrived before the rotation and waited is within the window. If it arrived longer before
    /// than any request waits, the clock was set back, and the grace does not apply.
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
        // A dead session has no valid tokens to protect, so its old tokens are refused without
        // further consequences.
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
        let in_grace = match grace {
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
        if in_grace {
            TokenStatus::Grace
        } else {
            TokenStatus::Spent
        }
    }

    /// Returns the status at `now` of an access token of this session with the session epoch
    /// `version`.
    #[must_use]
    pub fn access_token_status(&self, version: u32, now: Moment) -> TokenStatus {
        match self.token_status(self.session.generation, now, ReuseGrace::Unlimited) {
            TokenStatus::Current if version != self.session.session_epoch => {
                TokenStatus::StaleEpoch
            }
            status => status,
        }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
