//! Implementations of the ports: users, sessions and the audit trail in SQL, the blacklist in
//! Redis, keys in a directory or in SQL.

mod host;
pub mod key_directory;
pub mod redis;
pub mod sql;
