//! Keys that are rotated and revoked while three servers run: no token is refused that should pass, and none passes that
//! should be refused.

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

/// Tells each story twice: three servers that share a directory of keys, and three that share the database alone.
macro_rules! on_both_places {
    ($($(#[$attribute:meta])* async fn $name:ident($place:ident: $type:ty) $story:block)*) => {
        $($(#[$attribute])* async fn $name($place: $type) $story)*

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
