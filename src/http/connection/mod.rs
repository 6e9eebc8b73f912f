//! Connections of the main server: how many there may be, and how long each of their states may last.
//!
//! Every connection passes here, whatever is served over it. The web server's own timers cover the first request's head
//! and an idle connection; they know no slow reader and no body that never ends.

mod io;
mod progress;
mod register;
mod service;

pub(super) use self::{io::Observed, progress::Connection, service::Bounded};
pub use self::{
    progress::Limits,
    register::{Capacity, ConnectionStatus, Connections},
};
