//! The ports on real servers: users and sessions in SQL, the blacklist in Redis.

pub mod redis;
pub mod sql;
