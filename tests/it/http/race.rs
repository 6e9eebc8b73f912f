//! Concurrent requests with one refresh token, over real connections.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Barrier;

use latchkey_testkit::{
    Answer, BLACKLISTED, Backend, Forge, PASSWORD, Pair, TestApp, on_both_backends,
};

/// Sends one request for each of `paths` at the same moment, each over its own connection, to the
/// servers in turn.
async fn at_once(servers: &[SocketAddr], paths: &[&str], token: &str) -> Vec<Answer> {
    let barrier = Arc::new(Barrier::new(paths.len()));
    let body = json!({ "refresh": token }).to_string();
    let requests = paths.iter().enumerate().map(|(number, path)| {
        let (barrier, body) = (Arc::clone(&barrier), body.clone());
        let server = servers[number % servers.len()];
        let path = (*path).to_owned();
        tokio::spawn(async move {
            let client = reqwest::Client::new();
            // Opens the connection before the race begins.
            client
                .get(format!("http://{server}/health/live"))
                .send()
                .await
                .unwrap()
                .bytes()
                .await
                .unwrap();
            barrier.wait().await;
            let request = client
                .post(format!("http://{server}{path}"))
                .header("content-type", "application/json");
            Answer::read(request.body(body).send().await.unwrap()).await
        })
    });
    join_all(requests)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

async fn refreshes(servers: &[SocketAddr], number: usize, token: &str) -> Vec<Answer> {
    at_once(servers, &vec!["/api/token/refresh/"; number], token).await
}

/// Asserts that all requests receive one successor, and that the generation rises by one.
async fn assert_same_successor(
    servers: &[SocketAddr],
    app: &TestApp,
    first: &Pair,
    number: usize,
) -> Pair {
    let pairs: Vec<Pair> = refreshes(servers, number, &first.refresh)
        .await
        .iter()
        .map(Answer::pair)
        .collect();
    let successors: BTreeSet<&str> = pairs.iter().map(|pair| pair.refresh.as_str()).collect();
    assert_eq!(successors.len(), 1);
    let before = Forge::claims_of(&first.refresh)["gen"].as_u64().unwrap();
    assert_eq!(Forge::claims_of(&pairs[0].refresh)["gen"], before + 1);
    for pair in &pairs {
        app.verify(&pair.access).await.expect(200, "{}");
    }
    pairs[0].clone()
}

on_both_backends! {
    /// The next refresh shows that the generation rose by exactly one each time.
    async fn concurrent_refreshes_receive_the_same_successor(backend: Backend) {
        let app = TestApp::start(backend).await;
        let mut pair = app.signed_in("ada").await;
        for number in [32, 100] {
            pair = assert_same_successor(&[app.address], &app, &pair, number).await;
        }
        let last = app.refresh(&pair.refresh).await.pair();
        assert_eq!(Forge::claims_of(&last.refresh)["gen"], 3);
    }

    async fn two_instances_return_the_same_successor(backend: Backend) {
        let app = TestApp::start(backend).await;
        let twin = app.twin().await;
        let pair = app.signed_in("ada").await;
        let next = assert_same_successor(&[app.address, twin.address], &twin, &pair, 32).await;
        assert_eq!(Forge::claims_of(&twin.refresh(&next.refresh).await.pair().refresh)["gen"], 2);
    }

    async fn without_grace_concurrent_refreshes_revoke_the_session(backend: Backend) {
        let app = TestApp::start_with(backend, &["--refresh-reuse-grace=0s"]).await;
        let twin = app.twin().await;
        for (name, number, servers) in [
            ("ada", 32, vec![app.address]),
            ("bob", 100, vec![app.address]),
            ("eve", 32, vec![app.address, twin.address]),
        ] {
            let first = app.signed_in(name).await;
            let answers = refreshes(&servers, number, &first.refresh).await;
            let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
            assert_eq!((won.len(), lost.len()), (1, number - 1));
            for answer in lost {
                answer.expect(401, BLACKLISTED);
            }
            twin.refresh(&won[0].pair().refresh).await.expect(401, BLACKLISTED);
        }
    }

    async fn concurrent_log_outs_succeed_once(backend: Backend) {
        let app = TestApp::start(backend).await;
        let twin = app.twin().await;
        let pair = app.signed_in("ada").await;
        let answers = at_once(&[app.address, twin.address], &["/api/token/blacklist/"; 32], &pair.refresh).await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!((won.len(), lost.len()), (1, 31));
        for answer in lost {
            answer.expect(401, BLACKLISTED);
        }
    }

    /// After the response to a log-out, tokens from a concurrent refresh are rejected.
    async fn log_out_invalidates_tokens_of_racing_refreshes(backend: Backend) {
        let app = TestApp::start(backend).await;
        let twin = app.twin().await;
        let servers = [app.address, twin.address];
        for round in 0..6 {
            let first = app.signed_in(&format!("user{round}")).await;
            let mut paths = ["/api/token/refresh/"; 16];
            paths[(round * 5) % 16] = "/api/token/blacklist/";
            let answers = at_once(&servers, &paths, &first.refresh).await;
            answers[(round * 5) % 16].expect(200, "{}");
            for (answer, path) in answers.iter().zip(paths) {
                if path.ends_with("refresh/") && answer.status == 200 {
                    let pair = answer.pair();
                    for server in [&app, &twin] {
                        server.refresh(&pair.refresh).await.expect(401, BLACKLISTED);
                        assert_eq!(server.verify(&pair.access).await.status, 400);
                    }
                }
            }
            for server in [&app, &twin] {
                server.refresh(&first.refresh).await.expect(401, BLACKLISTED);
                assert_eq!(server.verify(&first.access).await.status, 400);
            }
        }
    }

    /// Concurrent writers wait for each other, and none of them receives a 503.
    async fn concurrent_sign_ins_refreshes_and_log_outs_succeed(backend: Backend) {
        let app = TestApp::start(backend).await;
        let mut pairs = Vec::new();
        app.user("ada").await;
        for _ in 0..24 {
            pairs.push(app.obtain("ada", PASSWORD).await.pair());
        }
        let refreshed = join_all(pairs.iter().map(|pair| app.refresh(&pair.refresh))).await;
        let pairs: Vec<Pair> = refreshed.iter().map(Answer::pair).collect();
        for answer in join_all(pairs.iter().map(|pair| app.blacklist(&pair.refresh))).await {
            answer.expect(200, "{}");
        }
    }
}
