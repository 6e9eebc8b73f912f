//! What operators and the service itself do with signing keys, told on a directory. What depends on the store is told on each of
//! them in `contract::keys`.

mod due;
mod import;
mod make;
mod revoke;
mod rewrap;
pub mod scene;
mod watch;
