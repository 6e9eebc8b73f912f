//! Model of the blacklist protocol: two instances, one row, and one entry in Redis.
//!
//! Faults: Redis loses its data, commands fail, the clock of Redis jumps, and instances crash. A
//! request writes the row first and the entry second. A missing entry counts as `Clear` only while
//! the blacklist is trusted.

mod effects;
mod properties;
mod steps;
mod tests;

/// Faults and rules of one exploration.
#[derive(Clone, Debug)]
pub struct Blacklist {
    /// Number of flushes of the running Redis.
    pub flushes: u8,
    /// Number of restarts of Redis from an older snapshot.
    pub restarts: u8,
    /// Number of commands that are not executed, or executed without an answer.
    pub failures: u8,
    /// Number of crashes of an instance.
    pub crashes: u8,
    /// Number of jumps of Redis' clock, each by most of a cache epoch's lifetime.
    pub jumps: u8,
    /// Number of rebuilds by another deployment, from a copy of the database, into an empty Redis.
    pub foreign_rebuilds: u8,
    pub rules: Rules,
}

/// The implemented rules, or a variant with one fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rules {
    Implemented,
    /// The entry is written before the row.
    EntryFirst,
    /// The seal ignores a lost ticket.
    SealWithoutTicket,
    /// A late write overwrites an entry with an older status.
    LastWriteWins,
    /// A failed write changes no state of the instance.
    FailedWritesAreIgnored,
    /// A failed connection does not end trust.
    FailedConnectionsAreTrusted,
    /// The cache epoch of another deployment is trusted.
    EveryEpochIsTrusted,
    /// A cache epoch never expires.
    EpochsNeverExpire,
    /// The probe renews the cache epoch without reading Redis' clock.
    ClockJumpsAreIgnored,
    /// The probe that detects a jump renews the cache epoch, before other instances detect the
    /// jump.
    EpochIsRenewedAfterJump,
    /// The seal ignores a clock jump during the rebuild.
    SealAfterJump,
}

/// Status of a refresh token in the row, or in its entry. It only increases.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Status {
    Live,
    Rotated,
    Revoked,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct State {
    pub row: Status,
    /// Highest status for which a request has returned its answer.
    pub acknowledged: Status,
    pub redis: Redis,
    pub saved: Option<Redis>,
    pub instances: [Instance; 2],
    pub flushes: u8,
    pub restarts: u8,
    pub failures: u8,
    pub crashes: u8,
    pub jumps: u8,
    pub foreign_rebuilds: u8,
    pub trusts_every_epoch: bool,
    /// True if a write lowered the status in the entry.
    pub status_decreased: bool,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Redis {
    /// Number of the server process. Each restart increments it.
    pub process: u8,
    pub epoch: Option<Epoch>,
    /// Number of the last cache epoch.
    pub last_epoch: u8,
    pub entry: Status,
    /// Number of clock jumps until the entry expires.
    pub margin: u8,
    /// Number of clock jumps so far.
    pub clock: u8,
    pub tickets: [Option<u8>; 2],
}

/// Cache epoch. It expires at a clock jump unless it was stored or renewed after the previous jump.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Epoch {
    pub name: u8,
    pub renewed: bool,
}

/// Identity of the cache at the start of a rebuild.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CacheIdentity {
    pub process: u8,
    pub clock: u8,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Instance {
    /// Number of failed writes.
    pub failed: u8,
    /// Value of `failed` at the start of the last completed rebuild.
    pub covered: u8,
    /// True if the connection failed since the last completed replay or rebuild.
    pub untrusted: bool,
    /// Identity of the cache at the last rebuild.
    pub rebuilt: Option<CacheIdentity>,
    /// Cache epoch that the last rebuild sealed.
    pub sealed: Option<u8>,
    pub request: Request,
    pub janitor: Janitor,
    /// True if the other instance failed to write a revocation and this one has not replayed it
    /// yet. The service permits one second for this.
    pub replay_due: bool,
}

/// Next step of a request. It writes the row, writes the entry, and answers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Request {
    None,
    WriteEntry(Status),
    WriteRow(Status),
    Answer(Status),
}

/// Next step of an instance's background task.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Janitor {
    /// Probes.
    Idle,
    /// Reads the row. The ticket of the rebuild is stored in Redis.
    Rebuild { ticket: u8, identity: CacheIdentity },
    /// Writes the entry.
    Read {
        ticket: u8,
        identity: CacheIdentity,
        row: Status,
    },
    /// Seals.
    Wrote { ticket: u8, identity: CacheIdentity },
    /// Writes recent revocations again.
    Replay { row: Status, untrusted_before: bool },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    Begin(usize, Status),
    Request(usize, Outcome),
    Janitor(usize, Outcome),
    Flush,
    Save,
    Restart,
    Crash(usize),
    Jump,
    ForeignRebuild,
}

/// Outcome of a command to Redis.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    Done,
    NotSent,
    /// Executed, but the answer did not arrive.
    Unanswered,
}
