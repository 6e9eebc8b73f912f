//! A Postgres that cannot serve: after two hundred failures of any kind, each connection of the pool is there again.

use futures_util::future::join_all;

use super::{Probe, is, ready, unavailable};
use crate::support::{
    Backend, Pair, TestApp,
    servers::{
        eventually,
        own::{OwnPostgres, OwnRedis},
    },
};

const POOL: usize = 4;
/// Of the connections of servers like this one.
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

    /// Two hundred at once, of which each is asked to come back, while access tokens are still checked.
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

    /// All of its connections work at the same moment: as many as there are wait for one lock, and then go on.
    async fn the_whole_pool_works_again(&self) {
        eventually("a refresh goes through", async || {
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
                let deadline = std::time::Instant::now() + std::time::Duration::from_millis(800);
                let mut most = 0;
                while most < POOL && std::time::Instant::now() < deadline {
                    most = usize::try_from(self.postgres.number(&waiting).await).unwrap();
                }
                locker.batch_execute("ROLLBACK").await.unwrap();
                most
            };
            // Reads, as rotations share a statement. One more than there are connections: background work may have one.
            let headers: Vec<String> = self
                .live
                .iter()
                .map(|pair| format!("Bearer {}", pair.access))
                .collect();
            let reads = (0..=POOL).map(|turn| self.app.me(&headers[turn % POOL]));
            let (answers, most) = tokio::join!(join_all(reads), released);
            most == POOL && answers.iter().all(|answer| answer.status == 200)
        })
        .await;
        eventually("ready says ok", async || {
            ready(&self.app).await == is(200, "ok", "ok")
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
async fn after_statements_that_waited_too_long_for_a_lock() {
    let scene = Scene::start(&[]).await;
    let locker = scene.postgres.client().await;
    locker
        .batch_execute("BEGIN; LOCK TABLE sessions")
        .await
        .unwrap();
    scene.two_hundred_failures().await;
    locker.batch_execute("ROLLBACK").await.unwrap();
    scene.the_whole_pool_works_again().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_server_that_hung_which_collects_no_connections_meanwhile() {
    let scene = Scene::start(&[]).await;
    scene.postgres.hang();
    scene.two_hundred_failures().await;
    scene.two_hundred_failures().await;
    eventually("attempts that were given up are closed", async || {
        established(scene.postgres.port) <= 2 * POOL
    })
    .await;
    scene.postgres.go_on();
    scene.the_whole_pool_works_again().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_server_that_was_stopped_gently_and_one_that_was_stopped_at_once() {
    let mut scene = Scene::start(&[]).await;
    for gently in [true, false] {
        if gently {
            scene.postgres.stop_gently();
        } else {
            scene.postgres.stop();
        }
        scene.two_hundred_failures().await;
        scene.postgres.again().await;
        scene.the_whole_pool_works_again().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_server_that_had_no_connection_left_for_us() {
    let places = 15;
    let scene = Scene::start(&["-c", &format!("max_connections={places}")]).await;
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
        // A connection that was ended keeps its place a little longer than its name.
        others.len() == places
    })
    .await;
    scene.two_hundred_failures().await;
    drop(others);
    scene.the_whole_pool_works_again().await;
}

/// How many connections to this port of this machine are open on the side that asked for them.
fn established(port: u16) -> usize {
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

/// The kernel asks after a connection that lies idle, so that one whose other end is gone is found out by nobody's
/// request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_asked_after_within_the_limit() {
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
        // Kind 1 is a packet under way, kind 2 the next question, in hundredths of a second.
        let (kind, rest) = timer.split_once(':').unwrap();
        let left = u32::from_str_radix(rest, 16).unwrap();
        assert!(matches!(kind, "01" | "02") && left <= 110, "{timer}");
    }
}
