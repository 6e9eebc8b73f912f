//! Test kit of the integration tests: servers, clients, clocks, proxies and forged tokens.

mod answer;
mod app;
mod binary;
mod clock;
mod forge;
mod outcome;
mod proxy;
mod sender;
pub mod servers;
mod sessions;

pub use answer::{Answer, Pair};
pub use app::{PASSWORD, TestApp, new_username, username};
pub use binary::{Place, Server, address};
pub use clock::ManualClock;
pub use forge::{Forge, encode};
pub use outcome::Outcome;
pub use proxy::{Proxy, listen};
pub use sessions::{claim, detail, sid};

/// Stores that a test runs on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Backend {
    /// SQLite, no Redis.
    Embedded,
    /// Postgres with Redis in front.
    PostgresAndRedis,
}

/// Runs each test twice: on the embedded database, and on Postgres and Redis.
macro_rules! on_both_backends {
    ($($(#[$attribute:meta])* async fn $name:ident($backend:ident: $type:ty) $body:block)*) => {
        $($(#[$attribute])* async fn $name($backend: $type) $body)*

        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::support::Backend::Embedded).await;
            })*
        }

        mod postgres_and_redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::support::Backend::PostgresAndRedis).await;
            })*
        }
    };
}
