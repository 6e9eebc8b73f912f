//! Faults of Postgres, Redis, disks and clocks: servers stopped, hung, emptied or replaced.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod disk_full;
mod keys;
mod killed;
mod postgres;
mod postgres_certificates;
mod postgres_clear_text;
mod postgres_cut;
mod postgres_exhausted;
mod postgres_pooler;
mod postgres_refusals;
mod postgres_replica;
mod postgres_roles;
mod postgres_tls;
mod postgres_urls;
mod redis;
mod redis_clock;
mod redis_cluster;
mod redis_impostors;
mod redis_scene;
mod redis_sentinel;
mod redis_shared;
mod redis_tls;
mod restart;
mod skew;
mod sqlite;
mod three;

use latchkey_testkit::{Answer, BLACKLISTED, PASSWORD, Pair, TestApp, VERIFY_BLACKLISTED, servers};

/// Tokens of a session that was deleted from the database without an entry in Redis. A server
/// accepts them only if its response comes from Redis.
struct Probe(Pair);

impl Probe {
    async fn new(app: &TestApp, database_url: &str) -> Self {
        let pair = app.signed_in("probe").await;
        let delete =
            "DELETE FROM sessions WHERE user_id = (SELECT id FROM users WHERE username = 'probe')";
        let (client, connection) = tokio_postgres::connect(database_url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client.batch_execute(delete).await.unwrap();
        Self(pair)
    }

    /// True if this server answers `verify` from Redis.
    async fn redis_answers(&self, app: &TestApp) -> bool {
        app.verify(&self.0.access).await.status == 200
    }

    async fn eventually_redis_answers(&self, app: &TestApp) {
        servers::eventually("Redis is trusted", async || self.redis_answers(app).await).await;
    }
}

/// Returns the response of `/health/ready`: HTTP status, `status` and `redis`.
async fn readiness(app: &TestApp) -> (u16, String, String) {
    let answer = app.get("/health/ready").await;
    let part = |name: &str| answer.json()[name].as_str().unwrap_or_default().to_owned();
    (answer.status, part("status"), part("redis"))
}

fn state(status: u16, overall: &str, redis: &str) -> (u16, String, String) {
    (status, overall.to_owned(), redis.to_owned())
}

#[track_caller]
fn unavailable(answer: &Answer) {
    answer.expect(
        503,
        r#"{"detail":"Service temporarily unavailable. Try again shortly."}"#,
    );
    assert_eq!(
        (answer.header("retry-after"), answer.header("content-type")),
        ("1", "application/json")
    );
}
