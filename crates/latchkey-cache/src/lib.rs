//! The blacklist in Redis: a single server, a master named by Sentinels, or a cluster.
//!
//! The Redis crate's Sentinel and Cluster clients and its connection manager are not used, because
//! they reconnect and retry silently. After a fail-over to a lagging replica, a missing entry would
//! then be taken as proof of a valid token. This module detects each failed connection and each
//! change of a server's address.

mod blacklist;
mod clock_drift;
mod connection;
mod connection_slot;
mod epoch;
mod error;
mod info;
mod key_names;
mod scripts;
mod slot_map;
mod topology;
mod trust;
mod url;
mod url_form;
mod warnings;

pub use blacklist::RedisBlacklist;
pub use url::{RedisOptions, RedisUrl};
pub use url_form::RedisUrlError;
