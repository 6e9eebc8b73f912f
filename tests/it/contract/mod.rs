//! What every store must do, whichever it is: the contracts of the ports.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails where it is surprised"
)]

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

/// Tells each story on a directory, on SQLite and on Postgres.
macro_rules! on_every_ring {
    ($($(#[$attribute:meta])* async fn $name:ident($scene:ident: Scene) $story:block)*) => {
        $($(#[$attribute])* async fn $name($scene: $crate::keys::scene::Scene) $story)*

        mod in_a_directory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::keys::scene::Scene::directory()).await;
            })*
        }

        mod in_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let store = $crate::contract::store::Store::postgres().await;
                super::$name($crate::keys::scene::Scene::database(store)).await;
            })*
        }

        mod in_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let store = $crate::contract::store::Store::sqlite().await;
                super::$name($crate::keys::scene::Scene::database(store)).await;
            })*
        }
    };
}

mod audit;
mod blacklist;
mod blacklist_epochs;
mod blacklist_losses;
mod blacklist_moves;
mod deployment;
mod janitor;
mod janitor_pages;
mod keys;
mod migrations;
mod operators;
mod race;
mod repeats;
mod sessions;
mod stamps;
mod statements;
pub mod store;
mod together;
mod together_faults;
mod users;
