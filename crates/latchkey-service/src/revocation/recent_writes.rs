//! Entries that this process has recently written to the blacklist.

use std::collections::HashMap;

use latchkey_domain::{
    ids::{SessionId, UserId},
    ports::BlacklistEntry,
    time::Moment,
};

/// Maximum number of records. Further entries are written again by each replay, which is harmless.
const CAPACITY: usize = 100_000;

/// Time of the last write of each entry.
#[derive(Default)]
pub(super) struct RecentWrites {
    cache: (u64, u64),
    entries: HashMap<Key, Moment>,
}

#[derive(Eq, Hash, PartialEq)]
enum Key {
    Session(SessionId),
    User(UserId, u32),
}

impl RecentWrites {
    /// Removes all records if the cache or the connection has changed, and otherwise those before
    /// `since`, which the replay no longer covers.
    pub(super) fn retain(&mut self, cache: (u64, u64), since: Moment) {
        if self.cache == cache {
            self.entries.retain(|_, written| *written >= since);
        } else {
            *self = Self {
                cache,
                entries: HashMap::new(),
            };
        }
    }

    pub(super) fn is_missing(&self, entry: &BlacklistEntry) -> bool {
        key(entry).is_none_or(|key| !self.entries.contains_key(&key))
    }

    pub(super) fn record(&mut self, entry: &BlacklistEntry, now: Moment) {
        if let Some(key) = key(entry).filter(|_| self.entries.len() < CAPACITY) {
            self.entries.insert(key, now);
        }
    }
}

fn key(entry: &BlacklistEntry) -> Option<Key> {
    match entry {
        BlacklistEntry::SessionEpoch {
            user,
            session_epoch: version,
        } => Some(Key::User(user.clone(), *version)),
        BlacklistEntry::SessionRevoked { session, .. } => Some(Key::Session(*session)),
        BlacklistEntry::GenerationRotated { .. } => None,
    }
}
