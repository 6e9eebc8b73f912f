//! The blacklist: a cache of what the database knows about dead tokens.

use async_trait::async_trait;
use chrono::TimeDelta;

use super::StoreError;
use crate::domain::ids::{SessionId, UserId};

/// What of a token the blacklist is asked about.
#[derive(Clone, Debug)]
pub struct TokenRef {
    /// The claim `sid`.
    pub session: SessionId,
    /// The claim `sub`.
    pub user: UserId,
    /// The claim `ver`.
    pub version: u32,
    /// The claim `gen`, of refresh tokens.
    pub generation: Option<u32>,
}

/// What the blacklist says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// No mark speaks against the token, and the blacklist still has its memory.
    Clear,
    /// The user was cut off.
    CutOff,
    /// The session was revoked.
    Revoked,
    /// The refresh token was rotated.
    Spent,
    /// The blacklist cannot tell: ask the database.
    Unknown,
}

/// A mark. Marks only ever move forward: a late one never lowers a number or lifts a revocation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Mark {
    /// The user's tokens below this version are dead.
    CutOff {
        /// Whose tokens.
        user: UserId,
        /// The lowest live version.
        version: u32,
    },
    /// The session is dead.
    Revoked {
        /// Which one.
        session: SessionId,
        /// Whose it is.
        user: UserId,
    },
    /// The session's refresh tokens below this generation are dead.
    Rotated {
        /// Which one.
        session: SessionId,
        /// Whose it is.
        user: UserId,
        /// The lowest live generation.
        generation: u32,
    },
}

impl Mark {
    /// Whose token it is about.
    #[must_use]
    pub const fn user(&self) -> &UserId {
        match self {
            Self::CutOff { user, .. } | Self::Revoked { user, .. } | Self::Rotated { user, .. } => user,
        }
    }
}

/// A cache of marks. It may lose its memory at any time; then it must say [`Verdict::Unknown`], never `Clear`.
#[async_trait]
pub trait Blacklist: Send + Sync {
    /// One look, one round trip. Errors and lost memory are both [`Verdict::Unknown`].
    async fn check(&self, token: &TokenRef) -> Verdict;

    /// Writes marks, each with how long it must be kept. On an error this cache says `Unknown` until it was rebuilt.
    async fn write(&self, marks: &[(Mark, TimeDelta)]) -> Result<(), StoreError>;

    /// Whether the cache must be filled from the database before it can be believed.
    async fn needs_rebuild(&self) -> Result<bool, StoreError>;

    /// Begins a rebuild: called before the database is read. What it returns goes to
    /// [`Blacklist::finish_rebuild`].
    async fn start_rebuild(&self) -> Result<u64, StoreError>;

    /// Called after all marks were written again: from now on their absence is believed. `false` when the cache lost
    /// its memory in between: then it is to be done again.
    async fn finish_rebuild(&self, ticket: u64) -> Result<bool, StoreError>;

    /// What is wrong with how the server is set up, a sentence each. An error when it cannot be reached.
    async fn warnings(&self) -> Result<Vec<String>, StoreError>;
}
