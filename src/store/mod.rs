//! The ports on real servers and files: users and sessions in SQL, the blacklist in Redis, keys in a directory or in SQL.

mod host;
pub mod key_directory;
pub mod redis;
pub mod sql;
mod thread;
