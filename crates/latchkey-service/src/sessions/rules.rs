//! Settings of the use cases.

use chrono::TimeDelta;

use crate::TokenRules;
use latchkey_domain::{reuse::ClientBinding, session::ReuseGrace};

/// Settings of the use cases.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Treatment of refresh tokens.
    pub refreshes: RefreshRules,
    /// Lifetime and number of sessions.
    pub sessions: SessionRules,
    /// Format and lifetimes of tokens.
    pub tokens: TokenRules,
}

/// Treatment of refresh tokens.
#[derive(Clone, Copy, Debug)]
pub struct RefreshRules {
    /// True if each refresh is recorded in the audit trail.
    pub audit: bool,
    /// The comparison of the sender of a spent refresh token with the client of the last refresh.
    pub binding: ClientBinding,
    /// Treatment of a spent refresh token within the reuse grace.
    pub grace: ReuseGrace,
    /// True if a refresh also returns a new refresh token.
    pub rotate: bool,
}

/// Lifetime and number of sessions.
#[derive(Clone, Copy, Debug)]
pub struct SessionRules {
    /// Maximum lifetime of a session.
    pub lifetime: TimeDelta,
    /// Maximum number of live sessions of a user. A further sign-in ends the oldest.
    pub per_user: u32,
    /// True if a sign-in updates the user's `last_login`.
    pub update_last_login: bool,
}
