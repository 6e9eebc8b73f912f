//! Recovery of the connection pool after two hundred failures of one kind.

use std::time::Duration;

use futures_util::future::join_all;

use super::{Probe, readiness, state, unavailable};
use latchkey_testkit::{
    Backend, Pair, TestApp,
    servers::{
        eventually, happens_within,
        own::{OwnPostgres, OwnRedis},
    },
};

const POOL: usize = 4;
/// Selects the connections of Latchkey servers.
const OURS: &str = "FROM pg_stat_activity WHERE application_name = 'latchkey'";

struct Scene {
    app: TestApp,
    live: Vec<Pair>,
    postgres: OwnPostgres,
    _redis: OwnRedis,
}

impl Scene {
    async fn start(postgres: &[&str]) -> Self {
        let (postgres, redis) = (
            OwnPostgres::start_with(postgres).await,
            OwnRedis::start().await,
        );
        let flags = [
            format!("--database-url={}", postgres.url()),
            format!("--redis-url={}", redis.url()),
            format!("--database-pool-size={POOL}"),
            "--database-timeout=1s".to_owned(),
        ];
        let app =
            TestApp::start_with(Backend::Embedded, &flags.each_ref().map(String::as_str)).await;
        Probe::new(&app, &postgres.url())
            .await
            .eventually_redis_answers(&app)
            .await;
        let mut live = Vec::new();
        for user in 0..POOL {
            live.push(app.signed_in(&format!("user{user}")).await);
        }
        Self {
            app,
            live,
            postgres,
            _redis: redis,
        }
    }

    /// Sends two hundred refreshes at once. Each returns 503 while access tokens are still
    /// verified.
    async fn two_hundred_failures(&self) {
        let refreshes = (0..200).map(|turn| self.app.refresh(&self.live[turn % POOL].refresh));
        let verify = self.app.verify(&self.live[0].access);
        let (answers, verified) = tokio::join!(join_all(refreshes), verify);
        answers.iter().for_each(unavailable);
        verified.expect(200, "{}");
        self.app
            .verify(&self.live[1].access)
            .await
            .expect(200, "{}");
    }

    /// Asserts that all connections of the pool work at the same time: each waits for one lock and
    /// then succeeds.
    async fn assert_whole_pool_works(&self) {
        eventually("a refresh succeeds", async || {
            let answers =
                join_all(self.live.iter().map(|pair| self.app.refresh(&pair.refresh))).await;
            answers.iter().all(|answer| answer.status == 200)
        })
        .await;
        eventually("all connections wait for the lock at once", async || {
            let locker = self.postgres.client().await;
            locker
                .batch_execute("BEGIN; LOCK TABLE sessions")
                .await
                .unwrap();
            let waiting = format!("SELECT count(*) {OURS} AND wait_event_type = 'Lock'");
            let released = async {
                let all_wait = happens_within(Duration::from_millis(800), async || {
                    usize::try_from(self.postgres.number(&waiting).await).unwrap() == POOL
                })
                .await;
                locker.batch_execute("ROLLBACK").await.unwrap();
                all_wait
            };
            // Reads, because rotations share a statement. One more than the pool size, because a
            // background task may hold a connection.
            let headers: Vec<String> = self
                .live
                .iter()
                .map(|pair| format!("Bearer {}", pair.access))
                .collect();
            let reads = (0..=POOL).map(|turn| self.app.me(&headers[turn % POOL]));
            let (answers, all_wait) = tokio::join!(join_all(reads), released);
            all_wait && answers.iter().all(|answer| answer.status == 200)
        })
        .await;
        eventually("readiness is ok", async || {
            readiness(&self.app).await == state(200, "ok", "ok")
        })
        .await;
        assert!(
            self.postgres
                .number(&format!("SELECT count(*) {OURS}"))
                .await
                <= POOL.try_into().unwrap()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_recovers_from_lock_timeouts() {
    let scene = Scene::start(&[]).await;
    let locker = scene.postgres.client().await;
    locker
        .batch_execute("BEGIN; LOCK TABLE sessions")
        .await
        .unwrap();
    scene.two_hundred_failures().await;
    locker.batch_execute("ROLLBACK").await.unwrap();
    scene.assert_whole_pool_works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_recovers_from_a_hang_without_extra_connections() {
    let scene = Scene::start(&[]).await;
    scene.postgres.hang();
    scene.two_hundred_failures().await;
    scene.two_hundred_failures().await;
    eventually("abandoned attempts are closed", async || {
        open_connections(scene.postgres.port) <= 2 * POOL
    })
    .await;
    scene.postgres.go_on();
    scene.assert_whole_pool_works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_recovers_from_fast_and_immediate_shutdown() {
    let mut scene = Scene::start(&[]).await;
    for is_fast in [true, false] {
        if is_fast {
            scene.postgres.stop_gently();
        } else {
            scene.postgres.stop();
        }
        scene.two_hundred_failures().await;
        scene.postgres.again().await;
        scene.assert_whole_pool_works().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_recovers_from_too_many_connections() {
    let max_connections = 15;
    let scene = Scene::start(&["-c", &format!("max_connections={max_connections}")]).await;
    scene.app.refresh(&scene.live[0].refresh).await.pair();
    let mut others = vec![scene.postgres.client().await];
    let end = format!("SELECT pg_terminate_backend(pid) {OURS}");
    eventually("all connections are taken by others", async || {
        others[0].batch_execute(&end).await.unwrap();
        while let Ok((client, connection)) =
            tokio_postgres::connect(&scene.postgres.url(), tokio_postgres::NoTls).await
        {
            tokio::spawn(connection);
            others.push(client);
        }
        // A terminated connection counts toward the limit a little longer than it is listed.
        others.len() == max_connections
    })
    .await;
    scene.two_hundred_failures().await;
    drop(others);
    scene.assert_whole_pool_works().await;
}

/// Returns the number of open client-side connections to this local port.
fn open_connections(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let to = format!(":{port:04X}");
    table
        .lines()
        .filter(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            columns[2].ends_with(&to) && columns[3] == "01"
        })
        .count()
}

/// TCP keep-alive detects a lost peer of an idle connection before a request uses it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connection_has_keepalive_within_the_timeout() {
    let scene = Scene::start(&[]).await;
    let to = format!(":{:04X}", scene.postgres.port);
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let timers: Vec<&str> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|columns| columns[2].ends_with(&to) && columns[3] == "01")
        .map(|columns| columns[5])
        .collect();
    assert!(!timers.is_empty());
    for timer in timers {
        // Timer 1 is a retransmission, timer 2 the next keep-alive probe, in hundredths of a
        // second.
        let (kind, rest) = timer.split_once(':').unwrap();
        let hundredths = u32::from_str_radix(rest, 16).unwrap();
        assert!(matches!(kind, "01" | "02") && hundredths <= 110, "{timer}");
    }
}
