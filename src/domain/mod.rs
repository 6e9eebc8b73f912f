//! Domain types and pure rules: the lowest layer, without async code, I/O or server libraries.

pub mod audit;
pub mod claims;
pub mod decision;
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
