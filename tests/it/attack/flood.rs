//! Request floods on one session, and requests of disconnected clients.

use std::{io::Write as _, net::TcpStream};

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use latchkey::config::Config;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio_postgres::{Client, NoTls};

use latchkey_testkit::{Backend, PASSWORD, TestApp, servers::eventually, sid};

/// Admission limit of a session: four running requests and a queue of 124.
const ADMISSION_LIMIT: usize = 128;

/// Opens a database connection that locks the row of a session.
async fn row_lock(config: &Config, session: &str) -> Client {
    let url = config
        .database
        .database_url
        .as_ref()
        .unwrap()
        .expose_secret();
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
        .batch_execute(&format!(
            "BEGIN; SELECT 1 FROM sessions WHERE id = '{session}' FOR UPDATE"
        ))
        .await
        .unwrap();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn flood_on_one_session_is_refused_without_effect_on_others() {
    let app = TestApp::start(Backend::PostgresAndRedis).await;
    let (flooded, other) = (app.signed_in("eve").await, app.signed_in("ada").await);
    let row_lock = row_lock(&app.config, &sid(&flooded.refresh)).await;
    let mut flood: FuturesUnordered<_> = (0..200).map(|_| app.refresh(&flooded.refresh)).collect();
    // Requests beyond the limit are refused while the others wait.
    for _ in ADMISSION_LIMIT..200 {
        let answer = flood.next().await.unwrap();
        answer.expect(
            503,
            r#"{"detail":"Service temporarily unavailable. Try again shortly."}"#,
        );
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert!(
        flood.next().now_or_never().is_none(),
        "the remaining requests wait"
    );
    app.refresh(&other.refresh).await.pair();
    assert_eq!(
        app.me(&format!("Bearer {}", other.access)).await.status,
        200
    );
    app.obtain("ada", PASSWORD).await.pair();
    row_lock.batch_execute("ROLLBACK").await.unwrap();
    let successors: Vec<_> = flood.map(|answer| answer.pair().refresh).collect().await;
    assert_eq!(successors.len(), ADMISSION_LIMIT);
    assert!(
        successors
            .iter()
            .all(|successor| *successor == successors[0]),
        "one successor for all tabs"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn queued_requests_of_disconnected_clients_are_dropped() {
    let app = TestApp::start(Backend::PostgresAndRedis).await;
    let (flooded, other) = (app.signed_in("eve").await, app.signed_in("ada").await);
    let row_lock = row_lock(&app.config, &sid(&flooded.refresh)).await;
    let body = json!({ "refresh": flooded.refresh }).to_string();
    let head = "POST /api/token/refresh/ HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    for _ in 0..1000 {
        TcpStream::connect(app.address)
            .unwrap()
            .write_all(request.as_bytes())
            .unwrap();
    }
    // With these requests still in the queue, a request on the session would be refused.
    eventually("the queue is empty", async || {
        let waiting = app.refresh(&flooded.refresh).now_or_never();
        waiting.is_none()
            && app
                .get("/metrics")
                .await
                .text
                .contains("latchkey_connections_open 1\n")
    })
    .await;
    app.refresh(&other.refresh).await.pair();
    row_lock.batch_execute("ROLLBACK").await.unwrap();
    app.refresh(&flooded.refresh).await.pair();
}
