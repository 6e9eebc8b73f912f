//! Web server. Converts HTTP requests to calls of use cases, and their results to responses. It
//! contains no business rules.

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
