//! Latchkey: a JWT access and refresh token service with the wire of Django's simplejwt.
//!
//! Every arrow points down; `tests/architecture.rs` holds the sources against this picture:
//!
//! ```text
//! main, cli      arguments, printing, exit codes          config, telemetry: read by cli and app
//! app            the composition root
//! http           actix-web: wire <-> domain, one mapping of errors
//! service        the use cases: the one set of rules
//! crypto, store  keys, tokens, hashes; SQL and Redis (siblings: neither knows the other)
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
