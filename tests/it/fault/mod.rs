//! What happens when a server is stopped, hung, emptied, or replaced by something else.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails where it is surprised"
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
mod redis_strangers;
mod redis_tls;
mod restart;
mod skew;
mod sqlite;
mod three;

use crate::support::{Answer, Pair, TestApp, servers};

const PASSWORD: &str = "correct horse battery staple";
const BLACKLISTED: &str = r#"{"detail":"Token is blacklisted","code":"token_not_valid"}"#;
const REFUSED: &str = r#"{"non_field_errors":["Token is blacklisted"]}"#;

/// A token whose session is in no database any more, and nobody has told Redis: it tells who answers.
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

    async fn redis_answers(&self, app: &TestApp) -> bool {
        app.verify(&self.0.access).await.status == 200
    }

    async fn eventually_redis_answers(&self, app: &TestApp) {
        servers::eventually("Redis is believed", async || self.redis_answers(app).await).await;
    }
}

/// Whether `/health/ready` has this status and says this of Redis.
async fn ready(app: &TestApp) -> (u16, String, String) {
    let answer = app.get("/health/ready").await;
    let part = |name: &str| answer.json()[name].as_str().unwrap_or_default().to_owned();
    (answer.status, part("status"), part("redis"))
}

fn is(status: u16, overall: &str, redis: &str) -> (u16, String, String) {
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
