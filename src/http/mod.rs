//! Web server: HTTP requests in, use cases, HTTP responses out. Contains no rules; `error.rs` alone maps errors.

mod access_log;
mod body;
pub mod connection;
mod endpoint;
pub mod error;
mod extract;
mod fields;
mod labels;
pub mod metrics;
mod middleware;
pub mod openapi;
mod router;
mod routes;
pub mod server;
mod sharded_metrics;
pub mod state;
