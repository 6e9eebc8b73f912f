//! A killed process: committed rotations and returned tokens hold, and a retry gets the successor.

use futures_util::future::join_all;
use serde_json::json;

use super::{
    BLACKLISTED, PASSWORD, VERIFY_BLACKLISTED,
    postgres_cut::{database_behind_a_proxy, generation, number, through},
};
use latchkey_testkit::{Answer, Backend, Pair, Place, Proxy, on_both_backends, servers};

struct Scene {
    database: String,
    flags: String,
    place: Place,
    proxy: Proxy,
}

impl Scene {
    async fn new(grace: &str) -> Self {
        let (database, proxy) = database_behind_a_proxy().await;
        let place = Place::on(Backend::PostgresAndRedis)
            .await
            .with("DATABASE_URL", &through(&proxy, &database))
            .with("LATCHKEY_ISSUER", "https://auth.test");
        for name in ["ada", "warm"] {
            place.user(name, PASSWORD);
        }
        let flags =
            format!("--refresh-reuse-grace={grace} --database-pool-size=1 --database-timeout=2s");
        Self {
            database,
            flags,
            place,
            proxy,
        }
    }

    /// Returns the tokens of generation 0 of a session whose rotation was committed without a
    /// response.
    async fn kill_between_commit_and_response(&self) -> Pair {
        let server = self.place.serve(&self.flags);
        let pair = server.pair("ada", PASSWORD).await;
        let mut warm = server.pair("warm", PASSWORD).await;
        servers::eventually("the rotation is committed, and its response held", async || {
            self.proxy.go_on();
            let answer = server.refresh(&warm.refresh).await;
            if answer.status != 200 {
                return false;
            }
            warm = answer.pair();
            self.proxy.hold_answers();
            tokio::select! {
                // A background task had the connection.
                answer = server.refresh(&pair.refresh) => {
                    assert_eq!(answer.status, 503);
                    false
                }
                () = servers::eventually("the rotation is committed", async || generation(&self.database, &pair).await == 1) => true,
            }
        })
        .await;
        server.stop("KILL");
        self.proxy.cut();
        self.proxy.go_on();
        pair
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_after_commit_leaves_retry_and_reuse_detection_intact() {
    let scene = Scene::new("5m").await;
    let pair = scene.kill_between_commit_and_response().await;
    let server = scene.place.serve(&scene.flags);
    let next = server.refresh(&pair.refresh).await.pair();
    assert_eq!(
        server.refresh(&pair.refresh).await.pair().refresh,
        next.refresh
    );
    assert_eq!(
        (number(&next), generation(&scene.database, &pair).await),
        (1, 1)
    );
    assert_eq!(server.verify(&next.access).await.status, 200);

    let last = server.refresh(&next.refresh).await.pair();
    server.refresh(&pair.refresh).await.expect(401, BLACKLISTED);
    server.refresh(&last.refresh).await.expect(401, BLACKLISTED);
    server
        .verify(&last.access)
        .await
        .expect(400, VERIFY_BLACKLISTED);
}

/// The help of `--refresh-reuse-grace` documents this cost of a grace of zero.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_after_commit_without_grace_requires_a_sign_in() {
    let scene = Scene::new("0s").await;
    let pair = scene.kill_between_commit_and_response().await;
    let server = scene.place.serve(&scene.flags);
    server.refresh(&pair.refresh).await.expect(401, BLACKLISTED);
    assert_eq!(
        generation(&scene.database, &pair).await,
        -1,
        "the session is revoked"
    );
    server.pair("ada", PASSWORD).await;
}

/// Refreshes until the server ends, and returns the last pair that it returned.
async fn refreshes_until_killed(
    url: &str,
    mut pair: Pair,
    answered: &std::sync::atomic::AtomicUsize,
) -> Pair {
    let client = reqwest::Client::new();
    loop {
        let request = client
            .post(format!("{url}/api/token/refresh/"))
            .header("content-type", "application/json");
        let Ok(response) = request
            .body(json!({ "refresh": pair.refresh }).to_string())
            .send()
            .await
        else {
            return pair;
        };
        let status = response.status();
        let Ok(bytes) = response.bytes().await else {
            return pair;
        };
        assert_eq!(status, 200, "{bytes:?}");
        let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let token = |name: &str| body[name].as_str().unwrap().to_owned();
        pair = Pair {
            access: token("access"),
            refresh: token("refresh"),
        };
        answered.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

on_both_backends! {
    /// Every token that was returned is durable, also on the embedded database.
    async fn kill_under_load_loses_no_returned_token(backend: Backend) {
        let place = Place::on(backend).await.with("LATCHKEY_ISSUER", "https://auth.test");
        place.user("ada", PASSWORD);
        let mut pairs = Vec::new();
        let first = place.serve("");
        for _ in 0..8 {
            pairs.push(first.pair("ada", PASSWORD).await);
        }
        first.stop("KILL");
        for round in 0..4 {
            let server = place.serve("--refresh-reuse-grace=5m");
            let answered = std::sync::atomic::AtomicUsize::new(0);
            let limit = 20 + usize::from(latchkey_crypto::random::bytes::<1>().unwrap()[0]) / 2;
            let url = server.url.clone();
            let kills = async {
                servers::eventually("enough refreshes were answered", async || {
                    answered.load(std::sync::atomic::Ordering::SeqCst) >= limit
                })
                .await;
                server.stop("KILL");
            };
            let clients = join_all(pairs.iter().map(|pair| refreshes_until_killed(&url, pair.clone(), &answered)));
            let (lasts, ()) = tokio::join!(clients, kills);
            let server = place.serve("--refresh-reuse-grace=5m");
            let answers = join_all(lasts.iter().map(|last| server.refresh(&last.refresh))).await;
            for (last, answer) in lasts.iter().zip(&answers) {
                let next = answer.pair();
                assert_eq!(number(&next), number(last) + 1, "round {round}, killed after {limit}");
                assert_eq!(server.verify(&next.access).await.status, 200);
            }
            pairs = answers.iter().map(Answer::pair).collect();
            server.stop("KILL");
        }
    }
}
