//! The faults: the start, the repeated action and the end of each. A new fault needs a variant, a
//! row in [`ALL`], and an arm in each of the steps.

mod steps;

pub use self::steps::{Held, REPEAT_INTERVAL};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    None,
    RedisKilled,
    RedisStopped,
    RedisFlushed,
    RedisOldSnapshot,
    RedisEvicting,
    RedisGarbage,
    RedisSilent,
    RedisHalfCut,
    SentinelKilled,
    SentinelLagging,
    SentinelMoved,
    ClusterKilled,
    ClusterLagging,
    ClusterMoved,
    ClusterDown,
    PostgresKilled,
    PostgresRestarted,
    PostgresStopped,
    PostgresTerminated,
    PostgresAnswersCut,
    PostgresAnswersSwallowed,
    PostgresLocked,
    PostgresStatementTimeout,
    PostgresReadOnly,
    LatchkeyKilled,
    LatchkeyTerminated,
    BothDown,
}

/// A row of the matrix.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub kind: Kind,
    pub name: &'static str,
    /// Description, as in docs/reliability.md.
    pub what: &'static str,
}

const fn row(kind: Kind, name: &'static str, what: &'static str) -> Fault {
    Fault { kind, name, what }
}

pub const ALL: [Fault; 28] = [
    row(Kind::None, "none", "no fault, for comparison"),
    row(
        Kind::RedisKilled,
        "redis-killed",
        "`kill -9`, then an empty restart",
    ),
    row(
        Kind::RedisStopped,
        "redis-stopped",
        "`SIGSTOP`, then `SIGCONT`: connections are accepted, but no command is answered",
    ),
    row(
        Kind::RedisFlushed,
        "redis-flushed",
        "`FLUSHALL` every 200 ms",
    ),
    row(
        Kind::RedisOldSnapshot,
        "redis-old-snapshot",
        "`kill -9` and an immediate restart from an old snapshot, twice",
    ),
    row(
        Kind::RedisEvicting,
        "redis-evicting",
        "keys of another application reach `maxmemory` under `allkeys-lru`",
    ),
    row(
        Kind::RedisGarbage,
        "redis-garbage",
        "another server on its port answers `+OK` to everything",
    ),
    row(
        Kind::RedisSilent,
        "redis-silent",
        "another server on its port never answers",
    ),
    row(
        Kind::RedisHalfCut,
        "redis-half-cut",
        "one of three instances loses Redis: its packets are dropped",
    ),
    row(
        Kind::SentinelKilled,
        "sentinel-killed",
        "`kill -9` for the master: its replica is promoted, and it restarts",
    ),
    row(
        Kind::SentinelLagging,
        "sentinel-lagging",
        "the same with a replica that was disconnected before the first revocation and lacks all of them",
    ),
    row(
        Kind::SentinelMoved,
        "sentinel-moved",
        "`SENTINEL FAILOVER`: a planned fail-over, with both servers running",
    ),
    row(
        Kind::ClusterKilled,
        "cluster-killed",
        "`kill -9` for one of three masters of a cluster: its replica is promoted, and it restarts",
    ),
    row(
        Kind::ClusterLagging,
        "cluster-lagging",
        "the same with replicas that were disconnected before the first revocation",
    ),
    row(
        Kind::ClusterMoved,
        "cluster-moved",
        "`CLUSTER FAILOVER`: a master and its replica exchange roles",
    ),
    row(
        Kind::ClusterDown,
        "cluster-down",
        "`kill -9` for all six nodes, then an empty restart",
    ),
    row(
        Kind::PostgresKilled,
        "postgres-killed",
        "immediate shutdown, then a restart with crash recovery",
    ),
    row(
        Kind::PostgresRestarted,
        "postgres-restarted",
        "fast restart, twice",
    ),
    row(
        Kind::PostgresStopped,
        "postgres-stopped",
        "`SIGSTOP` for all its processes, then `SIGCONT`",
    ),
    row(
        Kind::PostgresTerminated,
        "postgres-terminated",
        "`pg_terminate_backend` for every connection, every 200 ms",
    ),
    row(
        Kind::PostgresAnswersCut,
        "postgres-answers-cut",
        "one response in twenty is lost: the connection is cut after the statement ran",
    ),
    row(
        Kind::PostgresAnswersSwallowed,
        "postgres-answers-swallowed",
        "one response in twenty is lost, and the connection stays open without an answer",
    ),
    row(
        Kind::PostgresLocked,
        "postgres-locked",
        "`LOCK TABLE sessions`: every connection of the pools waits",
    ),
    row(
        Kind::PostgresStatementTimeout,
        "postgres-statement-timeout",
        "the same lock with `LATCHKEY_DATABASE_TIMEOUT=500ms`: statements are cancelled",
    ),
    row(
        Kind::PostgresReadOnly,
        "postgres-read-only",
        "`default_transaction_read_only = on`, as on a standby",
    ),
    row(
        Kind::LatchkeyKilled,
        "latchkey-killed",
        "`kill -9` for one of three instances, then a restart",
    ),
    row(
        Kind::LatchkeyTerminated,
        "latchkey-terminated",
        "`SIGTERM` for one of three instances, then a restart",
    ),
    row(
        Kind::BothDown,
        "both-down",
        "Redis and Postgres are down at the same time",
    ),
];
