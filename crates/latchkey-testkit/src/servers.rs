//! The Postgres and the Redis that `scripts/test` starts. Each test has its own database and key
//! prefix. Tests that stop a server start one with [`own`].

pub mod own;

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

#[expect(
    clippy::disallowed_methods,
    reason = "settings of the tests, not of the server"
)]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run scripts/test, which starts Postgres and Redis for the tests")
    })
}

/// Returns the URL of the shared Redis server.
pub fn redis_url() -> String {
    variable("TEST_REDIS_URL")
}

/// Returns the URL of the shared Postgres server, without a database in the path.
pub fn postgres_url() -> String {
    variable("TEST_POSTGRES_URL")
}

/// Returns an initialised data directory of Postgres, to be copied.
pub fn postgres_template() -> PathBuf {
    variable("TEST_POSTGRES_TEMPLATE").into()
}

/// Returns a word that no other test uses.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{prefix}_{}_{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::SeqCst)
    )
}

/// Creates an empty database and returns its URL.
pub async fn fresh_database() -> String {
    let name = unique("latchkey");
    execute("postgres", &format!("CREATE DATABASE {name}")).await;
    format!("{}/{name}", postgres_url())
}

/// Runs a statement in a database of the shared server.
pub async fn execute(database: &str, statement: &str) {
    let url = format!("{}/{database}", postgres_url());
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .unwrap();
    let driver = tokio::spawn(connection);
    client.batch_execute(statement).await.unwrap();
    drop(client);
    driver.await.unwrap().unwrap();
}

/// Waits until a condition holds. Panics if it does not within twenty seconds.
pub async fn eventually(what: &str, condition: impl AsyncFnMut() -> bool) {
    assert!(
        happens_within(Duration::from_secs(20), condition).await,
        "timeout: {what}"
    );
}

/// Waits until a condition holds. Returns false if it does not within the timeout.
pub async fn happens_within(timeout: Duration, mut condition: impl AsyncFnMut() -> bool) -> bool {
    let deadline = Instant::now() + timeout;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while !condition().await {
        if Instant::now() >= deadline {
            return false;
        }
        ticks.tick().await;
    }
    true
}
