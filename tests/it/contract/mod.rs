//! Contract tests of the ports, run against every implementation.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails on unexpected values"
)]

/// Runs each test on SQLite and on Postgres.
macro_rules! on_both_databases {
    ($($(#[$attribute:meta])* async fn $name:ident($store:ident: Store) $body:block)*) => {
        $($(#[$attribute])* async fn $name($store: $crate::contract::store::Store) $body)*

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

/// Runs each test on SQLite and on Postgres, there also with coalesced rotations.
macro_rules! on_every_rotation_store {
    ($($(#[$attribute:meta])* async fn $name:ident($store:ident: Store) $body:block)*) => {
        on_both_databases! {
            $($(#[$attribute])* async fn $name($store: Store) $body)*
        }

        mod coalesced {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::contract::store::Store::postgres().await.coalesced()).await;
            })*
        }
    };
}

/// Runs each test on a directory, on SQLite and on Postgres.
macro_rules! on_every_ring {
    ($($(#[$attribute:meta])* async fn $name:ident($scene:ident: Scene) $body:block)*) => {
        $($(#[$attribute])* async fn $name($scene: $crate::keys::scene::Scene) $body)*

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

/// Runs each test over the shared connection of background tasks and commands, and over a worker's.
macro_rules! on_both_connections {
    ($($(#[$attribute:meta])* async fn $name:ident($connections:ident: Connections) $body:block)*) => {
        $($(#[$attribute])* async fn $name($connections: $crate::contract::blacklist::Connections) $body)*

        mod shared {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::contract::blacklist::Connections::Shared).await;
            })*
        }

        mod worker {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::contract::blacklist::Connections::Worker).await;
            })*
        }
    };
}

mod audit;
mod blacklist;
mod blacklist_epochs;
mod blacklist_losses;
mod blacklist_moves;
mod blacklist_trust;
mod coalescing;
mod coalescing_concurrency;
mod coalescing_faults;
mod deployment;
mod janitor;
mod janitor_pages;
mod keys;
mod migrations;
mod operators;
mod repeats;
mod sessions;
mod stamps;
mod statements;
pub mod store;
mod users;
