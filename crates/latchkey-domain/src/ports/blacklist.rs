//! Port of the blacklist, a cache of the revocations in the database.

use async_trait::async_trait;
use chrono::TimeDelta;

use super::StoreError;
use crate::ids::{SessionId, UserId};

/// Time by which an entry outlives the tokens that it refuses. It covers the leeway, differences
/// between clocks, and the lifetime that a jump of the cache's clock can take from an entry before
/// it is detected.
pub const MARGIN: TimeDelta = TimeDelta::minutes(5);

/// Claims of a token that a lookup needs.
#[derive(Clone, Debug)]
pub struct TokenRef {
    /// The claim `sid`.
    pub session: SessionId,
    /// The claim `sub`.
    pub user: UserId,
    /// The claim `ver`.
    pub session_epoch: u32,
    /// The claim `gen` of a refresh token.
    pub generation: Option<u32>,
}

/// Result of a lookup.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lookup {
    /// No entry refuses the token, and the blacklist is trusted.
    Clear,
    /// The token has a stale epoch.
    StaleEpoch,
    /// The session is revoked.
    Revoked,
    /// The refresh token is spent.
    Spent,
    /// The blacklist cannot decide: the database must be queried.
    Unknown,
}

/// Entry of the blacklist. A late write never lowers a number or undoes a revocation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BlacklistEntry {
    /// Tokens of the user with a lower session epoch are revoked.
    SessionEpoch {
        /// User of the tokens.
        user: UserId,
        /// Lowest valid session epoch.
        session_epoch: u32,
    },
    /// The session is revoked.
    SessionRevoked {
        /// Revoked session.
        session: SessionId,
        /// User of the session.
        user: UserId,
    },
    /// Refresh tokens of the session with a lower generation are spent. A hint: a missing entry
    /// proves nothing.
    GenerationRotated {
        /// Session of the refresh tokens.
        session: SessionId,
        /// User of the session.
        user: UserId,
        /// Lowest valid generation.
        generation: u32,
    },
}

impl BlacklistEntry {
    /// Returns the user of the tokens.
    #[must_use]
    pub const fn user(&self) -> &UserId {
        match self {
            Self::SessionEpoch { user, .. }
            | Self::SessionRevoked { user, .. }
            | Self::GenerationRotated { user, .. } => user,
        }
    }
}

/// State of the cache, as found by a probe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CacheState {
    /// The cache that a rebuild of this process filled.
    Current,
    /// The cache that the rebuild with this ticket is filling. Nothing written so far was lost.
    Rebuilding(u64),
    /// The cache of another deployment that uses it at present. It is neither trusted nor filled.
    Foreign,
    /// Another cache, or one that may lack an entry: it must be rebuilt from the database.
    Unknown,
}

/// Result of a probe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Probe {
    /// State of the cache.
    pub state: CacheState,
    /// Number of the cache identity. It changes with the identity.
    pub number: u64,
    /// Number of the connection. It changes after a failed connection and a change of servers.
    pub connection: u64,
}

/// Status of the blacklist. Counters start with the process.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct BlacklistStatus {
    /// True if every server replied to its last request.
    pub reachable: bool,
    /// True if the blacklist is trusted.
    pub trusted: bool,
    /// Completed rebuilds.
    pub rebuilds: u64,
    /// Failed steps of rebuilds. Each is repeated.
    pub failed_rebuilds: u64,
    /// Failed connections, and changes of servers.
    pub failures: u64,
}

/// Cache of revocations. It may lose entries at any time, and must then return [`Lookup::Unknown`]
/// in place of [`Lookup::Clear`].
#[async_trait]
pub trait Blacklist: Send + Sync {
    /// Looks up a token in one round trip. Returns [`Lookup::Unknown`] after an error.
    async fn check(&self, token: &TokenRef) -> Lookup;

    /// Writes entries, each with its time to live. After an error, lookups return `Unknown` until a
    /// rebuild.
    async fn write(&self, entries: &[(BlacklistEntry, TimeDelta)]) -> Result<(), StoreError>;

    /// Like [`Blacklist::write`], for entries that the caller retries or that are only hints. An
    /// error requires no rebuild.
    async fn write_best_effort(
        &self,
        entries: &[(BlacklistEntry, TimeDelta)],
    ) -> Result<(), StoreError>;

    /// Probes every server, and finds the servers again if they may have moved. Call it every
    /// second.
    async fn probe(&self) -> Result<Probe, StoreError>;

    /// Restores trust, unless a connection failed after `probe`. Called after a probe found the
    /// cache kept and recent revocations were replayed to it.
    fn trust(&self, probe: &Probe);

    /// Starts a rebuild, before the database is read. Returns the ticket for
    /// [`Blacklist::finish_rebuild`].
    async fn start_rebuild(&self) -> Result<u64, StoreError>;

    /// Counts a failed step of a rebuild.
    fn record_failed_rebuild(&self);

    /// Seals the cache after all entries were written, which restores trust. Returns false if the
    /// cache lost entries in between; the rebuild must then be repeated.
    async fn finish_rebuild(&self, ticket: u64) -> Result<bool, StoreError>;

    /// Returns the status known so far. Sends no request.
    fn status(&self) -> BlacklistStatus;

    /// Returns the problems of the servers' configuration that the last probe found, one sentence
    /// each.
    fn warnings(&self) -> Vec<String>;
}
