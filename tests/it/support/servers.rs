//! The Postgres and the Redis that `scripts/test` started. Each test has a database and a key prefix of its own. Those
//! that stop a server start one of their own: [`own`].

#[path = "own/mod.rs"]
pub mod own;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

#[expect(
    clippy::disallowed_methods,
    reason = "settings of the tests, not of the server"
)]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: these tests need a Postgres and a Redis of their own, run scripts/test")
    })
}

/// The shared Redis server.
pub fn redis_url() -> String {
    variable("TEST_REDIS_URL")
}

/// The shared Postgres server, without a database in the path.
pub fn postgres_url() -> String {
    variable("TEST_POSTGRES_URL")
}

/// A word that no other test uses.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{prefix}_{}_{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::SeqCst)
    )
}

/// The URL of a new, empty database.
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

/// Waits for what background work will bring about; fails the test when it has not after twenty seconds.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while !condition().await {
        assert!(Instant::now() < deadline, "in vain: {what}");
        ticks.tick().await;
    }
}
