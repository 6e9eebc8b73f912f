//! The names of keys.
//!
//! All that one token's check looks at carries one hash tag, so that on a cluster it is one `MGET` in one slot. Users
//! are spread over a few tags, each with an epoch of its own: a node that lost its memory lost its epochs with it.

use crate::domain::ids::{SessionId, UserId};

/// How many tags there are. Changing it orphans all marks, which the next rebuild writes again.
pub(super) const BUCKETS: u8 = 16;

pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) const fn new(prefix: String) -> Self {
        Self { prefix }
    }

    /// FNV-1a: the same everywhere and for ever.
    pub(super) fn bucket(user: &UserId) -> u8 {
        let hash = user
            .as_str()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        u8::try_from(hash % u64::from(BUCKETS)).unwrap_or_default()
    }

    pub(super) fn epoch(&self, bucket: u8) -> String {
        format!("{{{}:{bucket}}}:epoch", self.prefix)
    }

    /// Each process that rebuilds has a key of its own: two at once are not in each other's way.
    pub(super) fn building(&self, bucket: u8, ticket: &str) -> String {
        format!("{{{}:{bucket}}}:building:{ticket}", self.prefix)
    }

    pub(super) fn session(&self, user: &UserId, session: SessionId) -> String {
        format!("{{{}:{}}}:s:{session}", self.prefix, Self::bucket(user))
    }

    pub(super) fn user(&self, user: &UserId) -> String {
        format!("{{{}:{}}}:u:{user}", self.prefix, Self::bucket(user))
    }
}
