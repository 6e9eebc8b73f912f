//! Domain types, pure rules, and the ports that stores implement: the lowest layer. It performs no
//! I/O, so it depends on no runtime, database, Redis or web crate.

pub mod audit;
pub mod claims;
pub mod decision;
pub mod email;
pub mod host;
pub mod ids;
pub mod keys;
pub mod network;
pub mod password;
pub mod ports;
pub mod reuse;
pub mod session;
pub mod time;
pub mod user;
pub mod username;
pub mod visible;
pub mod white_space;
