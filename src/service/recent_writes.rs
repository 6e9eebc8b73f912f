//! What this process has written to one memory of the blacklist already.

use std::collections::HashMap;

use crate::{
    domain::{
        ids::{SessionId, UserId},
        time::Moment,
    },
    ports::BlacklistEntry,
};

/// More are written again each time, which harms nobody.
const CAPACITY: usize = 100_000;

/// Marks by what they say, each with when it was written.
#[derive(Default)]
pub(super) struct RecentWrites {
    memory: (u64, u64),
    marks: HashMap<Key, Moment>,
}

#[derive(Eq, Hash, PartialEq)]
enum Key {
    Session(SessionId),
    User(UserId, u32),
}

impl RecentWrites {
    /// Forgets all that was written to another memory or by another connection, and what was written before `since`:
    /// what is as old as that is not looked for any more.
    pub(super) fn retain(&mut self, memory: (u64, u64), since: Moment) {
        if self.memory == memory {
            self.marks.retain(|_, written| *written >= since);
        } else {
            *self = Self {
                memory,
                marks: HashMap::new(),
            };
        }
    }

    pub(super) fn is_missing(&self, mark: &BlacklistEntry) -> bool {
        key(mark).is_none_or(|key| !self.marks.contains_key(&key))
    }

    pub(super) fn record(&mut self, mark: &BlacklistEntry, now: Moment) {
        if let Some(key) = key(mark).filter(|_| self.marks.len() < CAPACITY) {
            self.marks.insert(key, now);
        }
    }
}

fn key(mark: &BlacklistEntry) -> Option<Key> {
    match mark {
        BlacklistEntry::SessionEpoch {
            user,
            session_epoch: version,
        } => Some(Key::User(user.clone(), *version)),
        BlacklistEntry::SessionRevoked { session, .. } => Some(Key::Session(*session)),
        BlacklistEntry::GenerationRotated { .. } => None,
    }
}
