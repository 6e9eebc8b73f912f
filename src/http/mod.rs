//! The wire: actix-web in, actix-web out. No rules in here; one place maps errors.

mod bearer;
mod body;
pub mod error;
mod fields;
mod middleware;
mod routes;
pub mod server;
pub mod state;
