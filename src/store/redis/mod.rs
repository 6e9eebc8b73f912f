//! The blacklist in Redis.

mod blacklist;
mod connection;
mod keys;
mod server;

pub use blacklist::RedisBlacklist;
pub use connection::{RedisOptions, RedisUrl, RedisUrlError};
