//! Types and pure rules: no async, no I/O, no library of a server in here. The lowest layer.

pub mod audit;
pub mod claims;
pub mod email;
pub mod ids;
pub mod keys;
pub mod network;
pub mod password;
pub mod reuse;
pub mod session;
pub mod time;
pub mod user;
pub mod username;
pub mod visible;
pub mod white_space;
