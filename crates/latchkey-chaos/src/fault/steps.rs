//! Steps of each fault: preparation, start, repeated action and end.

use std::time::Duration;

use super::{Fault, Kind};
use crate::{
    caches::SetUp,
    world::{Wiring, World},
};
use latchkey_testkit::{
    Impostor, Mode,
    servers::{eventually, own::OwnRedis},
};

/// Resources of a fault in progress.
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
                wiring.redis = SetUp::Sentinel;
            }
            Kind::ClusterKilled | Kind::ClusterLagging | Kind::ClusterMoved | Kind::ClusterDown => {
                wiring.redis = SetUp::Cluster;
            }
            Kind::PostgresAnswersCut | Kind::PostgresAnswersSwallowed => {
                wiring.postgres_proxy = true;
            }
            Kind::PostgresStatementTimeout => {
                wiring.settings = &[("LATCHKEY_DATABASE_TIMEOUT", "500ms")];
            }
            _ => {}
        }
        wiring
    }

    /// True if Redis is unavailable to all instances alike. Then none of them trusts it, and a late
    /// revocation is a violation.
    pub fn hides_redis(&self) -> bool {
        let kinds = [
            Kind::RedisKilled,
            Kind::RedisStopped,
            Kind::RedisOldSnapshot,
            Kind::RedisGarbage,
            Kind::RedisSilent,
            Kind::ClusterDown,
            Kind::BothDown,
        ];
        kinds.contains(&self.kind)
    }

    /// Prepares the fault before the first revocation.
    pub async fn prepare(&self, world: &World) {
        match self.kind {
            // A snapshot on a busy disk may take longer than the client's timeout.
            Kind::RedisOldSnapshot => {
                eventually("the snapshot is saved", async || {
                    world.redis.first().try_ask(&["SAVE"]).await.is_some()
                })
                .await;
            }
            // The policy is set from the beginning, and memory is exhausted later.
            Kind::RedisEvicting => {
                run_command(world, &["CONFIG", "SET", "maxmemory", "1gb"]).await;
                run_command(world, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
            }
            Kind::SentinelLagging | Kind::ClusterLagging => {
                // The replica needs the cache epochs, so that it would be trusted.
                eventually("the replica has the cache epochs", async || {
                    keys(world.redis.replica_of_first(), "*:epoch").await
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
                world.redis.first_mut().kill();
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
                run_command(world, &["CONFIG", "SET", "maxmemory", &limit.to_string()]).await;
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
                    keys(world.redis.replica_of_first(), "*:s:*").await,
                );
                assert!(
                    behind < ahead,
                    "the replica has {behind} of {ahead} entries: the fault has no effect"
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

    /// Repeats an action every [`REPEAT_INTERVAL`].
    pub async fn meanwhile(&self, world: &World) {
        match self.kind {
            Kind::RedisFlushed => run_command(world, &["FLUSHALL"]).await,
            // Redis evicts entries without recent lookups, and keeps the cache epochs, which every
            // lookup reads.
            Kind::RedisEvicting => {
                let fill = "for i = 1, 300 do redis.call('SET', 'filler:' .. i .. redis.call('TIME')[2], string.rep('x', 500)) end";
                run_command(world, &["EVAL", fill, "0"]).await;
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
                    "nothing was evicted: the fault has no effect"
                );
                run_command(world, &["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
                run_command(world, &["CONFIG", "SET", "maxmemory", "0"]).await;
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
                wait_until_promoted(world).await;
                world.redis.first_mut().again().await;
            }
            Kind::SentinelMoved | Kind::ClusterMoved => wait_until_promoted(world).await,
            Kind::ClusterDown => {
                for node in world.redis.nodes_mut() {
                    node.again().await;
                }
            }
            Kind::RedisHalfCut | Kind::PostgresAnswersCut | Kind::PostgresAnswersSwallowed => {
                set(world, Mode::Pass);
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

/// Interval of [`Fault::meanwhile`].
pub const REPEAT_INTERVAL: Duration = Duration::from_millis(200);

fn set(world: &World, mode: Mode) {
    world
        .proxy
        .as_ref()
        .expect("the wiring has a proxy")
        .set(mode);
}

async fn run_command(world: &World, command: &[&str]) {
    let () = world.redis.first().ask(command).await;
}

async fn wait_until_promoted(world: &World) {
    eventually("the replica is the master", async || {
        world.redis.replica_of_first().info("role").await == "master"
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
