//! Servers other than Redis at Redis's address, and a connection to Redis that loses all bytes.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
};

use super::{BLACKLISTED, PASSWORD, Probe, VERIFY_BLACKLISTED, readiness, state};
use latchkey_testkit::{
    Backend, Proxy, TestApp, listen,
    servers::{self, own::OwnRedis},
};

/// Answers every request with the same bytes.
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

/// Runs a session from sign-in to log-out.
async fn session_works_with(redis: SocketAddr) {
    let database = servers::fresh_database().await;
    let flags = [
        format!("--database-url={database}"),
        format!("--redis-url=redis://{redis}"),
    ];
    let app = TestApp::start_with(Backend::Embedded, &flags.each_ref().map(String::as_str)).await;
    app.user("ada").await;
    let first = app.obtain("ada", PASSWORD).await.pair();
    for _ in 0..3 {
        app.verify(&first.access).await.expect(200, "{}");
    }
    let second = app.refresh(&first.refresh).await.pair();
    app.blacklist(&second.refresh).await.expect(200, "{}");
    for _ in 0..3 {
        app.verify(&second.access)
            .await
            .expect(400, VERIFY_BLACKLISTED);
        app.verify(&second.refresh)
            .await
            .expect(400, VERIFY_BLACKLISTED);
        app.refresh(&second.refresh).await.expect(401, BLACKLISTED);
    }
    assert_eq!(readiness(&app).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_never_responds_changes_no_response() {
    session_works_with(listen(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_closes_connections_changes_no_response() {
    session_works_with(listen(drop)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_of_another_protocol_changes_no_response() {
    session_works_with(parrot(b"HTTP/1.1 400 Bad Request\r\n\r\n")).await;
    session_works_with(parrot(b"\0\xff\xfe garbage without an end")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_confirms_everything_changes_no_response() {
    session_works_with(parrot(b"+OK\r\n")).await;
    session_works_with(parrot(b":1\r\n")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_returns_nulls_changes_no_response() {
    session_works_with(parrot(b"$-1\r\n")).await;
    session_works_with(parrot(b"*3\r\n$-1\r\n$-1\r\n$-1\r\n")).await;
    session_works_with(parrot(b"*0\r\n")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_refuses_or_is_loading_changes_no_response() {
    session_works_with(parrot(b"-NOAUTH Authentication required.\r\n")).await;
    session_works_with(parrot(
        b"-LOADING Redis is loading the dataset in memory\r\n",
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_that_loses_all_bytes_is_replaced() {
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
    // After a slow command the client replaces its connection, so the test repeats until bytes are
    // lost.
    servers::eventually("bytes are lost on the connection", async || {
        proxy.swallow();
        probe.redis_answers(&app).await;
        proxy.has_lost()
    })
    .await;
    probe.eventually_redis_answers(&app).await;
    servers::eventually("readiness is ok", async || {
        readiness(&app).await == state(200, "ok", "ok")
    })
    .await;
}
