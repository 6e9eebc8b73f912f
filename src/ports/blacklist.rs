//! The blacklist: a cache of what the database knows about dead tokens.

use async_trait::async_trait;
use chrono::TimeDelta;

use super::StoreError;
use crate::domain::ids::{SessionId, UserId};

/// The time by which an entry outlives the tokens that it refuses. It covers the leeway, differences between clocks,
/// and the part of an entry's life that a jump of the cache's clock may cut off before it is noticed.
pub const MARGIN: TimeDelta = TimeDelta::minutes(5);

/// What of a token the blacklist is asked about.
#[derive(Clone, Debug)]
pub struct TokenRef {
    /// The claim `sid`.
    pub session: SessionId,
    /// The claim `sub`.
    pub user: UserId,
    /// The claim `ver`.
    pub session_epoch: u32,
    /// The claim `gen`, of refresh tokens.
    pub generation: Option<u32>,
}

/// What the blacklist says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lookup {
    /// No mark speaks against the token, and the blacklist still has its memory.
    Clear,
    /// The user was cut off.
    StaleEpoch,
    /// The session was revoked.
    Revoked,
    /// The refresh token was rotated.
    Spent,
    /// The blacklist cannot tell: ask the database.
    Unknown,
}

/// A mark. Marks only ever move forward: a late one never lowers a number or lifts a revocation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BlacklistEntry {
    /// The user's tokens below this version are dead.
    SessionEpoch {
        /// Whose tokens.
        user: UserId,
        /// The lowest live version.
        session_epoch: u32,
    },
    /// The session is dead.
    SessionRevoked {
        /// Which one.
        session: SessionId,
        /// Whose it is.
        user: UserId,
    },
    /// The session's refresh tokens below this generation are dead. Advisory: its absence says nothing.
    GenerationRotated {
        /// Which one.
        session: SessionId,
        /// Whose it is.
        user: UserId,
        /// The lowest live generation.
        generation: u32,
    },
}

impl BlacklistEntry {
    /// Whose token it is about.
    #[must_use]
    pub const fn user(&self) -> &UserId {
        match self {
            Self::SessionEpoch { user, .. }
            | Self::SessionRevoked { user, .. }
            | Self::GenerationRotated { user, .. } => user,
        }
    }
}

/// What a look at the cache found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CacheState {
    /// The memory that a rebuild of this process filled.
    Current,
    /// The memory that the rebuild with this ticket is filling, and nothing is lost of what it wrote so far.
    Rebuilding(u64),
    /// The memory of another deployment that uses it at present. It is neither trusted nor filled.
    Foreign,
    /// Another one, or one that lacks a mark: it must be filled from the database.
    Unknown,
}

/// A look at the cache.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Probe {
    /// What was found.
    pub state: CacheState,
    /// The number of the memory: another one is another memory.
    pub number: u64,
    /// The number of the connection: another one means that it failed, or leads to other servers.
    pub connection: u64,
}

/// How the cache is, in numbers since the process began.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct BlacklistStatus {
    /// Whether every server that is needed answered when it was last asked.
    pub reachable: bool,
    /// Whether the absence of a mark is believed.
    pub trusted: bool,
    /// Rebuilds that came to their end.
    pub rebuilds: u64,
    /// Steps of rebuilds that failed, each to be done again.
    pub failed_rebuilds: u64,
    /// How often a connection failed, or led to other servers than before.
    pub failures: u64,
}

/// A cache of marks. It may lose its memory at any time; then it must say [`Verdict::Unknown`], never `Clear`.
#[async_trait]
pub trait Blacklist: Send + Sync {
    /// One look, one round trip. Errors and lost memory are both [`Verdict::Unknown`].
    async fn check(&self, token: &TokenRef) -> Lookup;

    /// Writes marks, each with how long it must be kept. On an error this cache says `Unknown` until it was rebuilt.
    async fn write(&self, marks: &[(BlacklistEntry, TimeDelta)]) -> Result<(), StoreError>;

    /// As [`Blacklist::write`], for marks that the caller writes again after an error, or that nobody relies on: an
    /// error asks for no rebuild.
    async fn write_best_effort(
        &self,
        marks: &[(BlacklistEntry, TimeDelta)],
    ) -> Result<(), StoreError>;

    /// Looks at every server, and finds the servers anew where they may have changed places. Run it every second.
    async fn probe(&self) -> Result<Probe, StoreError>;

    /// Absence is believed again, unless the connection failed after `look`. Called when the memory was found to be
    /// kept, and what was revoked lately has been written to it again.
    fn trust(&self, look: &Probe);

    /// Begins a rebuild: called before the database is read. Its ticket goes to [`Blacklist::finish_rebuild`].
    async fn start_rebuild(&self) -> Result<u64, StoreError>;

    /// Notes that a step of a rebuild failed.
    fn record_failed_rebuild(&self);

    /// Called after all marks were written again: from now on their absence is believed. `false` when the cache lost
    /// its memory in between: then it is to be done again.
    async fn finish_rebuild(&self, ticket: u64) -> Result<bool, StoreError>;

    /// How it is, from what is known already: asks nobody.
    fn status(&self) -> BlacklistStatus;

    /// What the last look found wrong with how the servers are set up, a sentence each.
    fn warnings(&self) -> Vec<String>;
}
