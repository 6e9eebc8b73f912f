//! The faults: how each one begins, what it does meanwhile, how it is healed. A new one is a variant, a row in [`ALL`]
//! and an arm in each of the steps.

use std::time::Duration;

use crate::{
    caches::SetUp,
    proxy::{Impostor, Mode},
    servers::{eventually, own::OwnRedis},
    world::{Wiring, World},
};

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
    /// What is done, for the document.
    pub what: &'static str,
}

const fn row(kind: Kind, name: &'static str, what: &'static str) -> Fault {
    Fault { kind, name, what }
}

pub const ALL: [Fault; 28] = [
    row(
        Kind::None,
        "none",
        "nothing: what the load looks like by itself",
    ),
    row(
        Kind::RedisKilled,
        "redis-killed",
        "`kill -9`, and back with nothing in it",
    ),
    row(
        Kind::RedisStopped,
        "redis-stopped",
        "`SIGSTOP`, then `SIGCONT`: it takes connections and does nothing",
    ),
    row(
        Kind::RedisFlushed,
        "redis-flushed",
        "`FLUSHALL`, again and again",
    ),
    row(
        Kind::RedisOldSnapshot,
        "redis-old-snapshot",
        "`kill -9` and back at once with what it had saved earlier, twice",
    ),
    row(
        Kind::RedisEvicting,
        "redis-evicting",
        "`maxmemory` under `allkeys-lru` is reached by the keys of somebody else",
    ),
    row(
        Kind::RedisGarbage,
        "redis-garbage",
        "something else listens on its port and answers `+OK` to everything",
    ),
    row(
        Kind::RedisSilent,
        "redis-silent",
        "something else listens on its port and never says a word",
    ),
    row(
        Kind::RedisHalfCut,
        "redis-half-cut",
        "one of three instances loses Redis: its packets vanish",
    ),
    row(
        Kind::SentinelKilled,
        "sentinel-killed",
        "Sentinel's master gets `kill -9`, its replica takes over, it comes back",
    ),
    row(
        Kind::SentinelLagging,
        "sentinel-lagging",
        "the same with a replica that was cut off before the first revocation, and comes without them",
    ),
    row(
        Kind::SentinelMoved,
        "sentinel-moved",
        "`SENTINEL FAILOVER`: the master is moved, and both are alive",
    ),
    row(
        Kind::ClusterKilled,
        "cluster-killed",
        "one of three masters of a cluster gets `kill -9`, its replica takes over, it comes back",
    ),
    row(
        Kind::ClusterLagging,
        "cluster-lagging",
        "the same with replicas that were cut off before the first revocation",
    ),
    row(
        Kind::ClusterMoved,
        "cluster-moved",
        "`CLUSTER FAILOVER`: a master and its replica change places",
    ),
    row(
        Kind::ClusterDown,
        "cluster-down",
        "`kill -9` for all six nodes, and back with nothing in them",
    ),
    row(
        Kind::PostgresKilled,
        "postgres-killed",
        "immediate shutdown, down, crash recovery",
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
        "one answer in twenty never comes: the connection is cut after the statement ran",
    ),
    row(
        Kind::PostgresAnswersSwallowed,
        "postgres-answers-swallowed",
        "one answer in twenty never comes, and the connection stays open in silence",
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
        "one of three instances gets `kill -9`, and is started again",
    ),
    row(
        Kind::LatchkeyTerminated,
        "latchkey-terminated",
        "one of three instances gets `SIGTERM`, and is started again",
    ),
    row(
        Kind::BothDown,
        "both-down",
        "Redis and Postgres are gone at once",
    ),
];

/// What a fault keeps while it lasts.
#[derive(Default)]
pub struct Held {
    impostor: Option<Impostor>,
    locker: Option<tokio_postgres::Client>,
}

impl Fault {
    pub fn wiring(&self) -> Wiring {
        let mut wiring = Wiring::default();
        match self.kind {
            Kind::RedisHalfCut => wiring.redis_proxy_for_first = true,
            Kind::SentinelKilled | Kind::SentinelLagging | Kind::SentinelMoved => {
                wiring.redis = SetUp::Sentinel
            }
            Kind::ClusterKilled | Kind::ClusterLagging | Kind::ClusterMoved | Kind::ClusterDown => {
                wiring.redis = SetUp::Cluster;
            }
            Kind::PostgresAnswersCut | Kind::PostgresAnswersSwallowed => {
                wiring.postgres_proxy = true
            }
            Kind::PostgresStatementTimeout => {
                wiring.settings = &[("LATCHKEY_DATABASE_TIMEOUT", "500ms")]
            }
            _ => {}
        }
        wiring
    }

    /// Whether Redis is away for all instances alike. Then none of them believes it, and there is no excuse for having
    /// heard of a revocation late.
    pub fn hides_redis(&self) -> bool {
        let away = [
            Kind::RedisKilled,
            Kind::RedisStopped,
            Kind::RedisOldSnapshot,
            Kind::RedisGarbage,
            Kind::RedisSilent,
            Kind::ClusterDown,
            Kind::BothDown,
        ];
        away.contains(&self.kind)
    }

    /// Before the first revocation.
    pub async fn prepare(&self, world: &World) {
        match self.kind {
            // A disk that others write to may take longer than the client waits.
            Kind::RedisOldSnapshot => {
                eventually("it is saved", async || {
                    world.redis.first().try_ask(&["SAVE"]).await.is_some()
                })
                .await;
            }
            // The policy is there from the beginning, and memory runs out later.
            Kind::RedisEvicting => {
                tell(world, &["CONFIG", "SET", "maxmemory", "1gb"]).await;
                tell(world, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
            }
            Kind::SentinelLagging | Kind::ClusterLagging => {
                // It must be one that would be believed.
                eventually("the replica has the epochs", async || {
                    keys(world.redis.heir(), "*:epoch").await
                        == keys(world.redis.first(), "*:epoch").await
                })
                .await;
                for master in world.redis.masters() {
                    master.cut_replicas_off().await;
                }
            }
            _ => {}
        }
    }

    pub async fn begin(&self, world: &mut World, held: &mut Held) {
        match self.kind {
            Kind::None | Kind::RedisFlushed | Kind::PostgresTerminated => {}
            Kind::RedisKilled | Kind::SentinelKilled | Kind::ClusterKilled => {
                world.redis.first_mut().kill()
            }
            Kind::RedisStopped => world.redis.first().hang(),
            Kind::RedisOldSnapshot => {
                world.redis.first_mut().kill();
                world.redis.first_mut().again().await;
            }
            Kind::RedisEvicting => {
                let info: String = world.redis.first().ask(&["INFO", "memory"]).await;
                let used = info
                    .lines()
                    .find_map(|line| line.strip_prefix("used_memory:"))
                    .unwrap();
                let limit = used.trim().parse::<u64>().unwrap() + 100_000;
                tell(world, &["CONFIG", "SET", "maxmemory", &limit.to_string()]).await;
            }
            Kind::RedisGarbage | Kind::RedisSilent => {
                let answer: &[u8] = if self.kind == Kind::RedisGarbage {
                    b"+OK\r\n"
                } else {
                    b""
                };
                world.redis.first_mut().kill();
                held.impostor = Some(Impostor::on(world.redis.first().port, answer));
            }
            Kind::RedisHalfCut => set(world, Mode::Swallow),
            Kind::SentinelLagging | Kind::ClusterLagging => {
                let (ahead, behind) = (
                    keys(world.redis.first(), "*:s:*").await,
                    keys(world.redis.heir(), "*:s:*").await,
                );
                assert!(
                    behind < ahead,
                    "the replica has {behind} of {ahead} marks: this is no fault"
                );
                world.redis.first_mut().kill();
            }
            Kind::SentinelMoved | Kind::ClusterMoved => world.redis.move_master().await,
            Kind::ClusterDown => world.redis.nodes_mut().iter_mut().for_each(OwnRedis::kill),
            Kind::PostgresKilled => world.postgres.stop(),
            Kind::PostgresRestarted => {
                world.postgres.stop_by("INT");
                world.postgres.again().await;
            }
            Kind::PostgresStopped => world.postgres.hang(),
            Kind::PostgresAnswersCut => set(world, Mode::CutAnswers),
            Kind::PostgresAnswersSwallowed => set(world, Mode::SwallowAnswers),
            Kind::PostgresLocked | Kind::PostgresStatementTimeout => {
                let locker = world.postgres.client().await;
                locker
                    .batch_execute("BEGIN; LOCK TABLE sessions")
                    .await
                    .unwrap();
                held.locker = Some(locker);
            }
            Kind::PostgresReadOnly => read_only(world, "on").await,
            Kind::LatchkeyKilled => world.instances[1].kill(),
            Kind::LatchkeyTerminated => world.instances[1].stop().await,
            Kind::BothDown => {
                world.redis.first_mut().kill();
                world.postgres.stop();
            }
        }
    }

    /// Every 200 ms.
    pub async fn meanwhile(&self, world: &World) {
        match self.kind {
            Kind::RedisFlushed => tell(world, &["FLUSHALL"]).await,
            // Marks that nobody asked for lately go, and the epochs, which everybody asks for, stay.
            Kind::RedisEvicting => {
                let fill = "for i = 1, 300 do redis.call('SET', 'filler:' .. i .. redis.call('TIME')[2], string.rep('x', 500)) end";
                tell(world, &["EVAL", fill, "0"]).await;
            }
            Kind::PostgresTerminated => {
                let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'latchkey'";
                world.postgres.execute(end).await;
            }
            _ => {}
        }
    }

    pub async fn heal(&self, world: &mut World, held: &mut Held) {
        match self.kind {
            Kind::None | Kind::RedisFlushed | Kind::PostgresTerminated => {}
            Kind::RedisKilled => world.redis.first_mut().again().await,
            Kind::RedisStopped => world.redis.first().go_on(),
            Kind::RedisOldSnapshot => {
                world.redis.first_mut().kill();
                world.redis.first_mut().again().await;
            }
            Kind::RedisEvicting => {
                let info: String = world.redis.first().ask(&["INFO", "stats"]).await;
                assert!(
                    !info.contains("evicted_keys:0"),
                    "nothing was evicted: this is no fault"
                );
                tell(world, &["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
                tell(world, &["CONFIG", "SET", "maxmemory", "0"]).await;
            }
            Kind::RedisGarbage | Kind::RedisSilent => {
                if let Some(impostor) = held.impostor.take() {
                    impostor.end().await;
                }
                world.redis.first_mut().again().await;
            }
            Kind::SentinelKilled
            | Kind::SentinelLagging
            | Kind::ClusterKilled
            | Kind::ClusterLagging => {
                promoted(world).await;
                world.redis.first_mut().again().await;
            }
            Kind::SentinelMoved | Kind::ClusterMoved => promoted(world).await,
            Kind::ClusterDown => {
                for node in world.redis.nodes_mut() {
                    node.again().await;
                }
            }
            Kind::RedisHalfCut | Kind::PostgresAnswersCut | Kind::PostgresAnswersSwallowed => {
                set(world, Mode::Pass)
            }
            Kind::PostgresKilled => world.postgres.again().await,
            Kind::PostgresRestarted => {
                world.postgres.stop_by("INT");
                world.postgres.again().await;
            }
            Kind::PostgresStopped => world.postgres.go_on(),
            Kind::PostgresLocked | Kind::PostgresStatementTimeout => {
                if let Some(locker) = held.locker.take() {
                    locker.batch_execute("ROLLBACK").await.unwrap();
                }
            }
            Kind::PostgresReadOnly => read_only(world, "off").await,
            Kind::LatchkeyKilled | Kind::LatchkeyTerminated => world.instances[1].start().await,
            Kind::BothDown => {
                world.redis.first_mut().again().await;
                world.postgres.again().await;
            }
        }
    }
}

/// How often [`Fault::meanwhile`] is due.
pub const MEANWHILE: Duration = Duration::from_millis(200);

fn set(world: &World, mode: Mode) {
    world
        .proxy
        .as_ref()
        .expect("the wiring has a proxy")
        .set(mode);
}

async fn tell(world: &World, command: &[&str]) {
    let () = world.redis.first().ask(command).await;
}

async fn promoted(world: &World) {
    eventually("the replica is the master", async || {
        world.redis.heir().info("role").await == "master"
    })
    .await;
}

async fn keys(redis: &OwnRedis, pattern: &str) -> usize {
    redis.ask::<Vec<String>>(&["KEYS", pattern]).await.len()
}

async fn read_only(world: &World, value: &str) {
    let client = world.postgres.client().await;
    client
        .batch_execute(&format!(
            "ALTER SYSTEM SET default_transaction_read_only = {value}"
        ))
        .await
        .unwrap();
    client
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
}
