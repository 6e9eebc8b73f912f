//! Implementations of the ports: users, sessions and the audit trail in SQL, keys in a directory or
//! in SQL.

pub mod key_directory;
pub mod sql;
