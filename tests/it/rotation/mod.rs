//! Rotation and revocation of keys on three running servers. Every valid token is accepted, and
//! every other token is refused.

mod automatic;
mod broken;
mod fleet;
mod offline;
mod refresh;
mod revoke;
mod revoke_refresh;
mod traffic;
mod twenty;

use fleet::{Fleet, KeysIn};
use traffic::Traffic;

/// Runs each test twice: with a shared key directory, and with keys in the database.
macro_rules! on_both_places {
    ($($(#[$attribute:meta])* async fn $name:ident($place:ident: $type:ty) $body:block)*) => {
        $($(#[$attribute])* async fn $name($place: $type) $body)*

        mod directory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::KeysIn::Directory).await;
            })*
        }

        mod database {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::KeysIn::Database).await;
            })*
        }
    };
}
use on_both_places;
