//! Something listens where Redis should be, and it is not Redis; or Redis is there, and the way to it is dead.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{BLACKLISTED, PASSWORD, Probe, REFUSED, is, ready};
use crate::support::{
    Backend, Proxy, TestApp, listen,
    servers::{self, own::OwnRedis},
};

/// Answers whatever comes with the same bytes.
fn parrot(answer: &'static [u8]) -> SocketAddr {
    listen(move |mut stream| {
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).is_ok_and(|length| length > 0) {
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    })
}

/// The whole life of a session, each step within a second.
async fn lives_without(redis: SocketAddr) {
    let database = servers::fresh_database().await;
    let flags = [
        format!("--database-url={database}"),
        format!("--redis-url=redis://{redis}"),
    ];
    let app = TestApp::start_with(Backend::Embedded, &flags.each_ref().map(String::as_str)).await;
    app.user("ada").await;
    let started = Instant::now();
    let first = app.obtain("ada", PASSWORD).await.pair();
    for _ in 0..3 {
        app.verify(&first.access).await.expect(200, "{}");
    }
    let second = app.refresh(&first.refresh).await.pair();
    app.blacklist(&second.refresh).await.expect(200, "{}");
    for _ in 0..3 {
        app.verify(&second.access).await.expect(400, REFUSED);
        app.verify(&second.refresh).await.expect(400, REFUSED);
        app.refresh(&second.refresh).await.expect(401, BLACKLISTED);
    }
    assert!(
        started.elapsed() < Duration::from_secs(6),
        "{:?} for fifteen requests",
        started.elapsed()
    );
    assert_eq!(ready(&app).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_takes_connections_and_never_says_a_word() {
    lives_without(listen(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_hangs_up_at_once() {
    lives_without(listen(drop)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_speaks_another_protocol() {
    lives_without(parrot(b"HTTP/1.1 400 Bad Request\r\n\r\n")).await;
    lives_without(parrot(b"\0\xff\xfe garbage without an end")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_says_yes_to_everything() {
    lives_without(parrot(b"+OK\r\n")).await;
    lives_without(parrot(b":1\r\n")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_has_nothing_for_anybody() {
    lives_without(parrot(b"$-1\r\n")).await;
    lives_without(parrot(b"*3\r\n$-1\r\n$-1\r\n$-1\r\n")).await;
    lives_without(parrot(b"*0\r\n")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_wants_a_password_or_is_loading() {
    lives_without(parrot(b"-NOAUTH Authentication required.\r\n")).await;
    lives_without(parrot(
        b"-LOADING Redis is loading the dataset in memory\r\n",
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_swallowed_on_the_way_is_replaced() {
    let redis = OwnRedis::start().await;
    let proxy = Proxy::to(redis.port);
    let database = servers::fresh_database().await;
    let flags = [
        format!("--database-url={database}"),
        format!("--redis-url=redis://{}", proxy.address),
    ];
    let app = TestApp::start_with(Backend::Embedded, &flags.each_ref().map(String::as_str)).await;
    let probe = Probe::new(&app, &database).await;
    probe.eventually_redis_answers(&app).await;
    // A slow command makes the client replace its connection by itself, so the test repeats until bytes are lost.
    servers::eventually("bytes are lost on a swallowed connection", async || {
        proxy.swallow();
        probe.redis_answers(&app).await;
        proxy.has_lost()
    })
    .await;
    probe.eventually_redis_answers(&app).await;
    servers::eventually("ready says ok", async || {
        ready(&app).await == is(200, "ok", "ok")
    })
    .await;
}
