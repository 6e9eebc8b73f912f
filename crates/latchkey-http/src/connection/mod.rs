//! Connections of the main server: limits of their number, and a deadline for each state.
//!
//! Every connection passes through this module. The web server's own timers cover the head of the
//! first request and idle connections, but not slow readers or endless bodies.

mod io;
mod progress;
mod refusal;
mod register;
mod service;
mod upgrade_offers;

pub(super) use self::{io::Observed, progress::Connection, service::Bounded};
pub use self::{
    progress::Limits,
    register::{Capacity, ConnectionStatus, Connections},
};
