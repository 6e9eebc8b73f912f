//! Test kit: servers, clients, clocks, proxies, forged tokens, and the program itself. The
//! integration tests, `latchkey-chaos` and `latchkey-bench` use it.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::new_without_default,
    clippy::return_self_not_must_use,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and the kit is not a library for others"
)]

mod answer;
mod app;
mod clock;
pub mod ended;
mod fleet;
mod forge;
mod http;
mod impostor;
mod outcome;
mod paths;
mod program;
mod proxy;
pub mod servers;
mod sessions;
pub mod verifier;

pub use answer::{Answer, Pair};
pub use app::{TestApp, new_username, username};
pub use clock::ManualClock;
pub use fleet::Fleet;
pub use forge::{Forge, encode};
pub use http::Http;
pub use impostor::Impostor;
pub use outcome::Outcome;
pub use paths::{program, repository, target};
pub use program::{Place, Server, address};
pub use proxy::{Mode, Proxy, listen};
pub use sessions::{BLACKLISTED, VERIFY_BLACKLISTED, claim, detail, sid};

/// Password of every user that the test kit creates.
pub const PASSWORD: &str = "correct horse battery staple";

/// Stores that a test runs on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Backend {
    /// SQLite, no Redis.
    Embedded,
    /// Postgres with Redis in front.
    PostgresAndRedis,
}

/// Runs each test twice: on the embedded database, and on Postgres and Redis.
#[macro_export]
macro_rules! on_both_backends {
    ($($(#[$attribute:meta])* async fn $name:ident($backend:ident: $type:ty) $body:block)*) => {
        $($(#[$attribute])* async fn $name($backend: $type) $body)*

        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::Backend::Embedded).await;
            })*
        }

        mod postgres_and_redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::Backend::PostgresAndRedis).await;
            })*
        }
    };
}
