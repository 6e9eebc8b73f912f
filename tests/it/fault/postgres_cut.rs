//! Connections to Postgres that break during a rotation: its outcome is unknown, and a retry
//! resolves it.

use std::time::Duration;

use futures_util::future::join_all;

use super::unavailable;
use latchkey_testkit::{Answer, Backend, Forge, Pair, Proxy, TestApp, servers};

struct Scene {
    app: TestApp,
    database: String,
    proxy: Proxy,
}

impl Scene {
    /// Starts a server without Redis, so that all its reads pass through the proxy.
    async fn start(flags: &[&str]) -> Self {
        let (database, proxy) = database_behind_a_proxy().await;
        let url = format!("--database-url={}", through(&proxy, &database));
        let mut all = vec![url.as_str()];
        all.extend(flags);
        let app = TestApp::start_with(Backend::Embedded, &all).await;
        Self {
            app,
            database,
            proxy,
        }
    }

    /// Starts a server with a pool of one connection, so that the rotation's connection is the
    /// one that breaks.
    async fn with_one_connection() -> Self {
        Self::start(&["--database-pool-size=1", "--database-timeout=1s"]).await
    }

    async fn generation(&self, pair: &Pair) -> i64 {
        generation(&self.database, pair).await
    }

    /// Sends the token until its rotation is committed and its response lost. At first a background
    /// task may have the connection.
    async fn rotate_without_response(
        &self,
        warm: &mut Pair,
        pair: &Pair,
        breaks: impl AsyncFn(&Self),
    ) {
        servers::eventually(
            "the rotation is committed, and its response lost",
            async || {
                self.proxy.go_on();
                let answer = self.app.refresh(&warm.refresh).await;
                if answer.status != 200 {
                    return false;
                }
                *warm = answer.pair();
                self.proxy.hold_answers();
                let (answer, ()) = tokio::join!(self.app.refresh(&pair.refresh), breaks(self));
                unavailable(&answer);
                self.generation(pair).await == 1
            },
        )
        .await;
        self.proxy.go_on();
    }

    /// Asserts that every retry returns the same successor and that the generation rose by one.
    async fn assert_retries_agree(&self, pair: &Pair) -> Pair {
        let next = self.app.refresh(&pair.refresh).await.pair();
        for _ in 0..3 {
            assert_eq!(
                self.app.refresh(&pair.refresh).await.pair().refresh,
                next.refresh
            );
        }
        assert_eq!((self.generation(pair).await, number(&next)), (1, 1));
        self.app.verify(&next.access).await.expect(200, "{}");
        next
    }
}

/// Returns a new database of the shared server, and a proxy to it.
pub(super) async fn database_behind_a_proxy() -> (String, Proxy) {
    let database = servers::fresh_database().await;
    let port = url::Url::parse(&database).unwrap().port().unwrap();
    (database, Proxy::to(port))
}

pub(super) fn through(proxy: &Proxy, database: &str) -> String {
    format!(
        "postgres://postgres@{}{}",
        proxy.address,
        url::Url::parse(database).unwrap().path()
    )
}

/// Returns the generation in the session's row, or -1 if the session is revoked.
pub(super) async fn generation(database: &str, pair: &Pair) -> i64 {
    let (client, connection) = tokio_postgres::connect(database, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let session = Forge::claims_of(&pair.refresh)["sid"]
        .as_str()
        .unwrap()
        .to_owned();
    let query = "SELECT generation::bigint FROM sessions WHERE id = $1 AND revoked_at IS NULL";
    client
        .query_opt(query, &[&session])
        .await
        .unwrap()
        .map_or(-1, |row| row.get(0))
}

/// Returns the generation of the refresh token.
pub(super) fn number(pair: &Pair) -> i64 {
    Forge::claims_of(&pair.refresh)["gen"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_response_costs_a_retry_and_no_session() {
    let scene = Scene::with_one_connection().await;
    let (mut warm, pair) = (
        scene.app.signed_in("warm").await,
        scene.app.signed_in("ada").await,
    );
    scene
        .rotate_without_response(&mut warm, &pair, async |scene| scene.proxy.lose_answers())
        .await;
    let next = scene.assert_retries_agree(&pair).await;
    assert_eq!(number(&scene.app.refresh(&next.refresh).await.pair()), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_cut_after_commit_costs_a_retry_and_no_session() {
    let scene = Scene::with_one_connection().await;
    let (mut warm, pair) = (
        scene.app.signed_in("warm").await,
        scene.app.signed_in("ada").await,
    );
    scene
        .rotate_without_response(&mut warm, &pair, async |scene| {
            let timeout = Duration::from_millis(900);
            servers::happens_within(timeout, async || scene.generation(&pair).await == 1).await;
            scene.proxy.cut();
        })
        .await;
    let next = scene.assert_retries_agree(&pair).await;
    assert_eq!(number(&scene.app.refresh(&next.refresh).await.pair()), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_lost_before_commit_spends_nothing() {
    let scene = Scene::with_one_connection().await;
    let pair = scene.app.signed_in("ada").await;
    // First a connection that loses all bytes, then none at all.
    scene.proxy.swallow();
    unavailable(&scene.app.refresh(&pair.refresh).await);
    scene.proxy.refuse();
    unavailable(&scene.app.refresh(&pair.refresh).await);
    assert_eq!(scene.generation(&pair).await, 0);
    scene.proxy.go_on();
    scene.assert_retries_agree(&pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_response_within_the_timeout_is_returned() {
    let scene = Scene::start(&["--database-timeout=20s"]).await;
    let pair = scene.app.signed_in("ada").await;
    scene
        .app
        .refresh(&scene.app.signed_in("warm").await.refresh)
        .await
        .pair();
    scene.proxy.hold_answers();
    let released = async {
        servers::eventually("the proxy holds the response", async || scene.proxy.holds()).await;
        scene.proxy.go_on();
    };
    let (answer, ()) = tokio::join!(scene.app.refresh(&pair.refresh), released);
    assert_eq!(
        (number(&answer.pair()), scene.generation(&pair).await),
        (1, 1)
    );
}

/// Refreshes until ten succeeded. Returns the last pair and the number of 503 responses.
async fn ten_refreshes(app: &TestApp, mut pair: Pair) -> (Pair, usize) {
    let (mut done, mut refused) = (0, 0);
    servers::eventually("ten refreshes succeed", async || {
        let answer: Answer = app.refresh(&pair.refresh).await;
        if answer.status == 200 {
            let next = answer.pair();
            assert_eq!(number(&next), number(&pair) + 1);
            (pair, done) = (next, done + 1);
        } else {
            unavailable(&answer);
            refused += 1;
        }
        done == 10
    })
    .await;
    (pair, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_connection_cuts_end_no_session_and_lose_no_rotation() {
    let scene = Scene::start(&["--database-pool-size=5", "--database-timeout=2s"]).await;
    let mut pairs = Vec::new();
    for client in 0..16 {
        pairs.push(scene.app.signed_in(&format!("user{client}")).await);
    }
    scene.proxy.cut_one_in(12);
    let ended = join_all(
        pairs
            .into_iter()
            .map(|pair| ten_refreshes(&scene.app, pair)),
    )
    .await;
    scene.proxy.go_on();
    assert!(
        ended.iter().map(|(_, refused)| refused).sum::<usize>() > 0,
        "nothing was cut"
    );
    for (last, _) in ended {
        assert_eq!(
            (number(&last), scene.generation(&last).await),
            (10, 10),
            "the last response matches the row"
        );
        scene.app.verify(&last.access).await.expect(200, "{}");
        let next = scene.app.refresh(&last.refresh).await.pair();
        assert_eq!((number(&next), scene.generation(&last).await), (11, 11));
    }
}
