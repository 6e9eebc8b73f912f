//! The blacklist in Redis: one server, one that Sentinels name, or a cluster.
//!
//! The Redis library's own clients for Sentinel and Cluster, and its connection manager, are not used: they connect
//! again and ask again without a word. After a fail-over to a replica that lags, a mark that is missing there would be
//! believed to be absent. Here every connection that fails, and every server that changes its place, is noticed.

mod blacklist;
mod clock_drift;
mod connection;
mod connection_slot;
mod epoch;
mod info;
mod key_names;
mod scripts;
mod slot_map;
mod topology;
mod trust;
mod url;
mod url_form;

pub use blacklist::RedisBlacklist;
pub use url::{RedisOptions, RedisUrl};
pub use url_form::RedisUrlError;
