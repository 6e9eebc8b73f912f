//! Key management by operators and by the service, with a key directory. `contract::keys` tests
//! each store.

mod due;
mod import;
mod make;
mod revoke;
mod rewrap;
pub mod scene;
mod watch;
