//! What is known of the servers' memory, and whether the gaps in it are believed.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::server::Server;
use crate::ports::{Look, Memory};

pub(super) struct Belief {
    /// How often a connection failed, or led elsewhere.
    pub failures: Arc<AtomicU64>,
    /// How many writes of this process failed. It starts at 1: what a process before this one failed to write is not
    /// known, so the first thing is a rebuild.
    failed: AtomicU64,
    /// The value of `failed` that the last rebuild covered.
    covered: AtomicU64,
    /// The value of `failures` at which the memory was last known to lack nothing.
    seen: AtomicU64,
    evicts: AtomicBool,
    memories: Mutex<Memories>,
    pub rebuilds: AtomicU64,
    pub failed_rebuilds: AtomicU64,
}

#[derive(Default)]
struct Memories {
    /// The memory that the last rebuild filled.
    filled: Option<Vec<String>>,
    /// The one that is being filled, and by which ticket.
    filling: Option<(Vec<String>, u64)>,
    /// The one that was seen last, and the how-manieth it is.
    last: Vec<String>,
    number: u64,
    warnings: Vec<String>,
}

/// What all servers said at one moment.
pub(super) struct Seen {
    /// The value of `failures` before they were asked.
    pub failures: u64,
    /// All memories, and who holds what.
    pub memory: Vec<String>,
    /// Whether every epoch is there.
    pub epochs: bool,
    /// Whether every ticket of the rebuild that is under way is there.
    pub tickets: bool,
    /// The policy by which some server throws keys away.
    pub evicts: Option<String>,
}

impl Default for Belief {
    fn default() -> Self {
        Self {
            failures: Arc::default(),
            failed: AtomicU64::new(1),
            covered: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            evicts: AtomicBool::new(false),
            memories: Mutex::default(),
            rebuilds: AtomicU64::new(0),
            failed_rebuilds: AtomicU64::new(0),
        }
    }
}

impl Belief {
    /// The same for an answer that was asked for when there were so many failures: one from before a fail-over may arrive
    /// after it.
    pub(super) fn holds_since(&self, failures: u64) -> bool {
        self.holds() && self.failures.load(Ordering::Acquire) == failures
    }

    /// Whether the absence of a mark is believed.
    pub(super) fn holds(&self) -> bool {
        !self.missed_a_write()
            && self.seen.load(Ordering::Acquire) == self.failures.load(Ordering::Acquire)
            && !self.evicts.load(Ordering::Acquire)
    }

    /// Something is not as it was: until that is cleared up, nothing is believed.
    pub(super) fn shake(&self) {
        if self.holds() {
            self.failures.fetch_add(1, Ordering::AcqRel);
        }
    }

    pub(super) fn miss_a_write(&self) {
        self.failed.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn missed_a_write(&self) -> bool {
        self.failed.load(Ordering::Acquire) != self.covered.load(Ordering::Acquire)
    }

    /// The ticket of the rebuild that is under way.
    pub(super) fn filling(&self) -> Option<u64> {
        self.memories().filling.as_ref().map(|(_, ticket)| *ticket)
    }

    pub(super) fn judge(&self, seen: &Seen) -> Look {
        let evicts = seen.evicts.is_some();
        if self.evicts.swap(evicts, Ordering::AcqRel) && !evicts {
            // It does not any more, but nobody knows what it took away.
            self.miss_a_write();
        }
        let mut memories = self.memories();
        memories.warnings = seen.evicts.iter().map(|policy| evicting(policy)).collect();
        if memories.last != seen.memory {
            memories.last.clone_from(&seen.memory);
            memories.number += 1;
        }
        let kept = seen.epochs && !self.missed_a_write() && memories.filled.as_ref() == Some(&seen.memory);
        let filling = memories.filling.as_ref().filter(|(memory, ticket)| {
            seen.tickets && *memory == seen.memory && *ticket == self.failed.load(Ordering::Acquire)
        });
        let memory = match filling {
            _ if kept => Memory::Kept,
            Some((_, ticket)) => Memory::Filling(*ticket),
            None => Memory::Lost,
        };
        Look { memory, number: memories.number, connection: seen.failures }
    }

    pub(super) fn believe(&self, failures: u64) {
        self.seen.store(failures, Ordering::Release);
    }

    /// The ticket of a rebuild of this memory.
    pub(super) fn begin(&self, memory: Vec<String>) -> u64 {
        let ticket = self.failed.load(Ordering::Acquire);
        self.memories().filling = Some((memory, ticket));
        ticket
    }

    /// Whether what was filled is this memory.
    pub(super) fn end(&self, ticket: u64, sealed: bool, seen: &Seen) -> bool {
        let mut memories = self.memories();
        let filling = memories.filling.take();
        if !sealed || filling.is_none_or(|(memory, _)| memory != seen.memory) {
            return false;
        }
        memories.filled = Some(seen.memory.clone());
        drop(memories);
        self.seen.store(seen.failures, Ordering::Release);
        self.covered.store(ticket, Ordering::Release);
        self.rebuilds.fetch_add(1, Ordering::Relaxed);
        true
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        self.memories().warnings.clone()
    }

    fn memories(&self) -> MutexGuard<'_, Memories> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    pub(super) fn new(failures: u64) -> Self {
        Self { failures, memory: Vec::new(), epochs: true, tickets: true, evicts: None }
    }

    pub(super) fn add(&mut self, address: &str, buckets: &[u8], server: Server) {
        self.memory.push(format!("{address} {buckets:?} {}", server.memory));
        self.evicts = self.evicts.take().or(server.evicts);
    }
}

fn evicting(policy: &str) -> String {
    format!("Redis evicts keys ({policy}), so every check also asks the database: set maxmemory-policy to noeviction")
}
