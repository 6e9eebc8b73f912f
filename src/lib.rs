//! Latchkey: a JWT access and refresh token service with the wire format of Django's simplejwt.
//!
//! Each layer is a crate, and depends only on crates below it:
//!
//! ```text
//! latchkey           cli: arguments, output, exit codes   config, telemetry: used by cli and app
//!                    app: composition root
//! latchkey-http      actix-web: mapping of requests, responses and errors
//! latchkey-service   use cases
//! latchkey-crypto    keys, signatures, hashes  latchkey-store  SQL, key directories
//!                                              latchkey-cache  the blacklist in Redis
//! latchkey-domain    types, pure rules, and the ports of stores and the clock
//! latchkey-files     bounded reads and checks of modes
//! latchkey-verifier  verification of tokens, also a library for other services
//! ```

pub mod app;
pub mod cli;
pub mod config;
pub mod telemetry;
