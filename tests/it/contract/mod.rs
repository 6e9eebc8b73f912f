//! What every store must do, whichever it is: the contracts of the ports.

#![expect(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails where it is surprised")]

/// Tells each story on SQLite and on Postgres.
macro_rules! on_both_databases {
    ($($(#[$attribute:meta])* async fn $name:ident($store:ident: Store) $story:block)*) => {
        $($(#[$attribute])* async fn $name($store: $crate::contract::store::Store) $story)*

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::contract::store::Store::postgres().await).await;
            })*
        }

        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::contract::store::Store::sqlite().await).await;
            })*
        }
    };
}

mod audit;
mod blacklist;
mod blacklist_losses;
mod janitor;
mod janitor_pages;
mod migrations;
mod race;
mod sessions;
mod statements;
mod store;
mod users;
