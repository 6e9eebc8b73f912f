//! Assignment of buckets to servers.

use std::sync::Arc;

use super::{connection::NodeConnection, key_names::BUCKETS};

pub(super) struct SlotMap {
    pub nodes: Vec<Node>,
}

/// A server and its buckets.
pub(super) struct Node {
    pub link: Arc<NodeConnection>,
    pub buckets: Vec<u8>,
}

impl SlotMap {
    /// Assigns all buckets to one server.
    pub(super) fn single(link: Arc<NodeConnection>) -> Self {
        Self {
            nodes: vec![Node {
                link,
                buckets: (0..BUCKETS).collect(),
            }],
        }
    }

    /// Returns the server that holds the bucket.
    pub(super) fn connection(&self, bucket: u8) -> Option<&Arc<NodeConnection>> {
        self.nodes
            .iter()
            .find(|node| node.buckets.contains(&bucket))
            .map(|node| &node.link)
    }

    /// Returns the connection to this address, if there is one.
    pub(super) fn by_address(&self, address: &str) -> Option<&Arc<NodeConnection>> {
        self.nodes
            .iter()
            .map(|node| &node.link)
            .find(|link| link.address() == address)
    }

    /// Returns true if both assign each bucket to the same connection.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let same = |bucket| match (self.connection(bucket), other.connection(bucket)) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        self.nodes.len() == other.nodes.len() && (0..BUCKETS).all(same)
    }

    pub(super) fn is_reachable(&self) -> bool {
        self.nodes.iter().all(|node| !node.link.is_down())
    }
}
