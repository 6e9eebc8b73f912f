//! The wire: actix-web in, actix-web out. No rules in here; one place maps errors.

mod access_log;
mod bearer;
mod body;
mod client_address;
mod client_info;
pub mod connection;
pub mod error;
mod fields;
mod labels;
pub mod metrics;
mod middleware;
pub mod openapi;
mod routes;
pub mod server;
mod sharded_metrics;
pub mod state;
