//! What is known of the servers' memory, and whether the gaps in it are believed.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

use super::{
    clock_drift::{ClockReading, ClockReadings},
    epoch::{self, EpochName, Epochs},
    info::ServerInfo,
    scripts::Term,
};
use crate::{
    domain::ids::DeploymentId,
    ports::{CacheState, Probe},
};

pub(super) struct Trust {
    deployment: DeploymentId,
    /// How often a connection failed, or led elsewhere.
    pub failures: Arc<AtomicU64>,
    /// How many writes of this process failed. It starts at 1: what a process before this one failed to write is not
    /// known, so the first thing is a rebuild.
    failed_writes: AtomicU64,
    /// The value of `failed` that the last rebuild covered.
    covered_writes: AtomicU64,
    /// The value of `failures` at which the memory was last known to lack nothing.
    seen: AtomicU64,
    /// The start of this process, and the milliseconds from then to the last look that found the memory kept.
    started_at: Instant,
    verified_at: AtomicU64,
    /// The epochs that the last rebuild sealed.
    sealed: ArcSwap<SealedCache>,
    evicts: AtomicBool,
    memories: Mutex<TrustState>,
    pub rebuilds: AtomicU64,
    pub failed_rebuilds: AtomicU64,
}

#[derive(Default)]
struct TrustState {
    /// The memory that the last rebuild filled.
    filled: Option<FilledCache>,
    /// The one that is being filled, and by which ticket.
    filling: Option<(FilledCache, u64)>,
    /// The number of rebuilds begun.
    begun: u64,
    /// The one that was seen last, and the how-manieth it is.
    last: Vec<String>,
    number: u64,
    /// The policy by which a server evicts, and the deployment that uses the same keys.
    evicts: Option<String>,
    foreign_owner: Option<String>,
}

/// A memory, and the clocks of its servers when the rebuild began.
struct FilledCache {
    identity: Vec<String>,
    readings: ClockReadings,
}

/// The epochs of the memory that a rebuild filled, and the clocks when it began.
#[derive(Default)]
pub(super) struct SealedCache {
    pub epochs: Epochs,
    readings: ClockReadings,
}

/// What all servers said at one moment.
pub(super) struct Observation {
    /// The value of `failures` before they were asked.
    pub failures: u64,
    /// The time before they were asked.
    pub asked: Instant,
    /// All memories, and who holds what.
    pub memory: Vec<String>,
    pub readings: ClockReadings,
    /// The epochs found.
    pub epochs: Epochs,
    /// Whether every ticket of the rebuild that is under way is there.
    pub tickets: bool,
    /// The policy by which some server throws keys away.
    pub evicts: Option<String>,
}

/// The counters before a request, to be compared with those after its answer.
#[derive(Clone, Copy)]
pub(super) struct Counters {
    failures: u64,
    rebuilds: u64,
}

impl Trust {
    pub(super) fn new(deployment: DeploymentId) -> Self {
        Self {
            deployment,
            failures: Arc::default(),
            failed_writes: AtomicU64::new(1),
            covered_writes: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            started_at: Instant::now(),
            verified_at: AtomicU64::new(0),
            sealed: ArcSwap::default(),
            evicts: AtomicBool::new(false),
            memories: Mutex::default(),
            rebuilds: AtomicU64::new(0),
            failed_rebuilds: AtomicU64::new(0),
        }
    }

    /// Returns the state to compare with an answer that is requested now.
    pub(super) fn counters(&self) -> Counters {
        Counters {
            failures: self.failures.load(Ordering::Acquire),
            rebuilds: self.rebuilds.load(Ordering::Acquire),
        }
    }

    /// Returns true if the absence of a mark can be trusted with this `epoch`. `before` is the state when the answer
    /// was requested, because an answer from before a fail-over or a rebuild may arrive after it.
    pub(super) fn is_given_for(&self, bucket: u8, epoch: Option<&str>, before: Counters) -> bool {
        epoch.is_some()
            && self.sealed.load().epochs.get(bucket) == epoch
            && self.rebuilds.load(Ordering::Acquire) == before.rebuilds
            && self.failures.load(Ordering::Acquire) == before.failures
            && self.is_given()
    }

    /// Whether the absence of a mark is believed.
    pub(super) fn is_given(&self) -> bool {
        self.is_given_at(Instant::now())
    }

    fn is_given_at(&self, now: Instant) -> bool {
        !self.has_failed_write()
            && self.seen.load(Ordering::Acquire) == self.failures.load(Ordering::Acquire)
            && !self.evicts.load(Ordering::Acquire)
            && self.is_fresh_at(now)
    }

    /// Something is not as it was: until that is cleared up, nothing is believed.
    pub(super) fn revoke(&self) {
        if self.is_given() {
            self.failures.fetch_add(1, Ordering::AcqRel);
        }
    }

    pub(super) fn record_failed_write(&self) {
        self.failed_writes.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn has_failed_write(&self) -> bool {
        self.failed_writes.load(Ordering::Acquire) != self.covered_writes.load(Ordering::Acquire)
    }

    /// The ticket of the rebuild that is under way.
    pub(super) fn rebuilding(&self) -> Option<u64> {
        self.state().filling.as_ref().map(|(_, ticket)| *ticket)
    }

    /// Returns the trusted memory, to be renewed.
    pub(super) fn trusted(&self) -> Arc<SealedCache> {
        self.sealed.load_full()
    }

    pub(super) fn assess(&self, seen: &Observation) -> Probe {
        let evicts = seen.evicts.is_some();
        if self.evicts.swap(evicts, Ordering::AcqRel) && !evicts {
            // It does not any more, but nobody knows what it took away.
            self.record_failed_write();
        }
        let stranger = seen.epochs.foreign_owner(&self.deployment);
        let mut memories = self.state();
        memories.evicts.clone_from(&seen.evicts);
        memories.foreign_owner = stranger.map(ToOwned::to_owned);
        if memories.last != seen.memory {
            memories.last.clone_from(&seen.memory);
            memories.number += 1;
        }
        let kept = !self.has_failed_write()
            && self.is_fresh_at(seen.asked)
            && seen.epochs.are_complete()
            && self.sealed.load().epochs == seen.epochs
            && memories
                .filled
                .as_ref()
                .is_some_and(|filled| filled.is_still(seen));
        let filling = memories.filling.as_ref().filter(|(filling, ticket)| {
            seen.tickets
                && filling.is_still(seen)
                && *ticket == self.failed_writes.load(Ordering::Acquire)
        });
        let memory = match filling {
            _ if kept => CacheState::Current,
            _ if stranger.is_some() => CacheState::Foreign,
            Some((_, ticket)) => CacheState::Rebuilding(*ticket),
            None => CacheState::Unknown,
        };
        if kept {
            self.record_verified(seen.asked);
        }
        Probe {
            state: memory,
            number: memories.number,
            connection: seen.failures,
        }
    }

    pub(super) fn restore(&self, failures: u64) {
        self.seen.store(failures, Ordering::Release);
    }

    /// The ticket of a rebuild of this memory.
    pub(super) fn begin_rebuild(&self, seen: Observation) -> u64 {
        let ticket = self.failed_writes.load(Ordering::Acquire);
        let mut memories = self.state();
        memories.begun += 1;
        memories.filling = Some((
            FilledCache {
                identity: seen.memory,
                readings: seen.readings,
            },
            ticket,
        ));
        ticket
    }

    /// Returns the terms on which the current rebuild seals the epochs of the server at `address`.
    pub(super) fn sealing_term(&self, address: &str) -> Term {
        let memories = self.state();
        term(
            memories
                .filling
                .as_ref()
                .and_then(|(filling, _)| filling.readings.get(address)),
        )
    }

    /// Returns the values with which the current rebuild seals epochs. `process` is unique to this process.
    pub(super) fn name_epochs(&self, process: &str) -> EpochName {
        let owner = format!("{}:", self.deployment.as_str());
        // Each check reads the value, so it is short.
        let new_value = format!(
            "{owner}{}.{}",
            process.get(..12).unwrap_or(process),
            self.state().begun
        );
        EpochName { owner, new_value }
    }

    /// Ends a rebuild. Returns true if the memory that was filled is the one `seen`, with the epochs that were
    /// `sealed`.
    pub(super) fn end_rebuild(&self, ticket: u64, sealed: Epochs, seen: &Observation) -> bool {
        let mut memories = self.state();
        let filling = memories
            .filling
            .take()
            .map(|(filling, _)| filling)
            .filter(|filling| filling.is_still(seen));
        let Some(filled) = filling.filter(|_| sealed.are_complete() && sealed == seen.epochs)
        else {
            return false;
        };
        let readings = filled.readings.clone();
        memories.filled = Some(filled);
        drop(memories);
        // Counted first: an answer that was requested before must not be trusted with the state stored below.
        self.rebuilds.fetch_add(1, Ordering::AcqRel);
        self.sealed.store(Arc::new(SealedCache {
            epochs: sealed,
            readings,
        }));
        self.record_verified(seen.asked);
        self.seen.store(seen.failures, Ordering::Release);
        self.covered_writes.store(ticket, Ordering::Release);
        true
    }

    /// Returns the problems of the last look, a sentence each. Another deployment is reported only if ours `is_known`.
    pub(super) fn warnings(&self, is_known: bool) -> Vec<String> {
        let memories = self.state();
        let stranger = memories.foreign_owner.as_deref().filter(|_| is_known);
        memories
            .evicts
            .as_deref()
            .map(eviction_warning)
            .into_iter()
            .chain(stranger.map(foreign_warning))
            .collect()
    }

    /// Records that the memory was kept at this moment.
    fn record_verified(&self, at: Instant) {
        self.verified_at
            .store(self.milliseconds(at), Ordering::Release);
    }

    /// Returns true if a look found the memory kept within the life of an epoch. A process that was paused or
    /// disconnected for longer cannot know what happened meanwhile.
    fn is_fresh_at(&self, now: Instant) -> bool {
        self.milliseconds(now)
            < self
                .verified_at
                .load(Ordering::Acquire)
                .saturating_add(milliseconds(epoch::LIFETIME))
    }

    fn milliseconds(&self, at: Instant) -> u64 {
        milliseconds(at.saturating_duration_since(self.started_at))
    }

    fn state(&self) -> MutexGuard<'_, TrustState> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FilledCache {
    /// Returns true if it is the memory that was seen, and if no clock has jumped since the rebuild began.
    fn is_still(&self, seen: &Observation) -> bool {
        let keeps_pace = |(address, then): (&String, &ClockReading)| {
            seen.readings
                .get(address)
                .is_some_and(|now| !now.has_jumped_since(then))
        };
        self.identity == seen.memory && self.readings.iter().all(keeps_pace)
    }
}

impl SealedCache {
    /// Returns the terms on which the epochs of the server at `address` are renewed.
    pub(super) fn term(&self, address: &str) -> Term {
        term(self.readings.get(address))
    }
}

/// Valid until the server's clock shows a later time than possible since `reading`.
fn term(reading: Option<&ClockReading>) -> Term {
    Term {
        life: epoch::LIFETIME,
        latest: reading.map_or(Duration::ZERO, |reading| reading.latest(Instant::now())),
    }
}

impl Observation {
    pub(super) fn new(failures: u64) -> Self {
        Self {
            failures,
            asked: Instant::now(),
            memory: Vec::new(),
            readings: ClockReadings::new(),
            epochs: Epochs::default(),
            tickets: true,
            evicts: None,
        }
    }

    pub(super) fn add(
        &mut self,
        address: &str,
        buckets: &[u8],
        server: ServerInfo,
        reading: ClockReading,
    ) {
        self.memory
            .push(format!("{address} {buckets:?} {}", server.cache_identity));
        self.readings.insert(address.to_owned(), reading);
        self.evicts = self.evicts.take().or(server.eviction_policy);
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn foreign_warning(deployment: &str) -> String {
    let name: String = deployment
        .chars()
        .take(64)
        .flat_map(char::escape_default)
        .collect();
    format!(
        "Redis holds the blacklist of another deployment ({name}), so every check asks the database: \
         set a different LATCHKEY_REDIS_PREFIX for each deployment"
    )
}

fn eviction_warning(policy: &str) -> String {
    format!(
        "Redis evicts keys ({policy}), so every check also asks the database: set maxmemory-policy to noeviction"
    )
}

#[cfg(test)]
#[path = "trust_tests.rs"]
mod tests;
