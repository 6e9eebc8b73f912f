//! Latchkey: a JWT access and refresh token service with the wire format of Django's simplejwt.
//!
//! A layer uses only layers below it, as `tests/architecture.rs` checks:
//!
//! ```text
//! main, cli      arguments, output, exit codes            config, telemetry: used by cli and app
//! app            composition root
//! http           actix-web: mapping of requests, responses and errors
//! service        use cases
//! crypto, store  keys, tokens, hashes; SQL and Redis (siblings that do not use each other)
//! ports          traits of the stores and the clock
//! domain         types and pure rules
//! files          bounded reads and checks of modes, for config, store, cli, crypto
//! ```

pub mod app;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod domain;
pub mod files;
pub mod http;
pub mod ports;
pub mod service;
pub mod store;
pub mod telemetry;
