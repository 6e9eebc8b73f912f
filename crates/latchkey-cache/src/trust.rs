//! Trust in the blacklist: decides if a missing entry proves that a token is not revoked.
//!
//! `docs/concepts/blacklist.md` states the rule (Trust 1 to 7). This module keeps its counters and
//! cache identities, and does no I/O.

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
    warnings::{eviction_warning, foreign_warning},
};
use latchkey_domain::{
    ids::DeploymentId,
    ports::{CacheState, Probe},
};

pub(super) struct Trust {
    deployment: DeploymentId,
    /// Number of failed connections and of changes of address.
    pub failures: Arc<AtomicU64>,
    /// Number of failed writes of this process. Starts at 1: failed writes of earlier processes are
    /// unknown, so the first probe finds that a rebuild is due.
    failed_writes: AtomicU64,
    /// Value of `failed_writes` that the last rebuild covered.
    covered_writes: AtomicU64,
    /// Value of `failures` at which the cache was last known to be complete.
    seen: AtomicU64,
    /// Start of this process, and milliseconds from then to the last probe that found the cache
    /// kept.
    started_at: Instant,
    verified_at: AtomicU64,
    /// Cache epochs that the last rebuild sealed.
    sealed: ArcSwap<SealedCache>,
    evicts: AtomicBool,
    state: Mutex<TrustState>,
    pub rebuilds: AtomicU64,
    pub failed_rebuilds: AtomicU64,
}

#[derive(Default)]
struct TrustState {
    /// Cache that the last rebuild filled.
    filled: Option<FilledCache>,
    /// Cache that the current rebuild fills, and its ticket.
    filling: Option<(FilledCache, u64)>,
    /// Number of rebuilds started.
    begun: u64,
    /// Cache identities found by the last probe, and the number of changes of them.
    last_identities: Vec<String>,
    number: u64,
    /// Eviction policy of a server that evicts, and the other deployment that uses the same keys.
    evicts: Option<String>,
    foreign_owner: Option<String>,
}

/// Identity of a filled cache, and the servers' clocks at the start of the rebuild.
struct FilledCache {
    identity: Vec<String>,
    readings: ClockReadings,
}

/// Cache epochs that a rebuild sealed, and the servers' clocks at its start.
#[derive(Default)]
pub(super) struct SealedCache {
    pub epochs: Epochs,
    readings: ClockReadings,
}

/// Replies of all servers to one probe.
pub(super) struct Observation {
    /// Value of `failures` before the probe was sent.
    pub failures: u64,
    /// Time before the probe was sent.
    pub sent_at: Instant,
    /// Cache identity of each server, with its address and buckets.
    pub identities: Vec<String>,
    pub readings: ClockReadings,
    /// Cache epochs found.
    pub epochs: Epochs,
    /// True if every bucket holds the ticket of the current rebuild.
    pub tickets: bool,
    /// Eviction policy of a server that evicts.
    pub evicts: Option<String>,
}

/// Counters before a lookup. They are compared with those after its reply.
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
            state: Mutex::default(),
            rebuilds: AtomicU64::new(0),
            failed_rebuilds: AtomicU64::new(0),
        }
    }

    /// Returns the counters to compare with the reply to a lookup that is sent next.
    pub(super) fn counters(&self) -> Counters {
        Counters {
            failures: self.failures.load(Ordering::Acquire),
            rebuilds: self.rebuilds.load(Ordering::Acquire),
        }
    }

    /// Returns true if a missing entry can be trusted with this cache `epoch`. `before` holds the
    /// counters from before the lookup was sent: a reply from before a fail-over or a rebuild may
    /// arrive after it.
    pub(super) fn is_given_for(&self, bucket: u8, epoch: Option<&str>, before: Counters) -> bool {
        epoch.is_some()
            && self.sealed.load().epochs.get(bucket) == epoch
            && self.rebuilds.load(Ordering::Acquire) == before.rebuilds
            && self.failures.load(Ordering::Acquire) == before.failures
            && self.is_given()
    }

    /// Returns true if the blacklist is trusted.
    pub(super) fn is_given(&self) -> bool {
        self.is_given_at(Instant::now())
    }

    fn is_given_at(&self, now: Instant) -> bool {
        !self.has_failed_write()
            && self.seen.load(Ordering::Acquire) == self.failures.load(Ordering::Acquire)
            && !self.evicts.load(Ordering::Acquire)
            && self.is_fresh_at(now)
    }

    /// Withdraws trust until a probe restores it or a rebuild completes.
    pub(super) fn withdraw(&self) {
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

    /// Returns the ticket of the current rebuild.
    pub(super) fn rebuilding(&self) -> Option<u64> {
        self.state().filling.as_ref().map(|(_, ticket)| *ticket)
    }

    /// Returns the cache epochs that a probe renews.
    pub(super) fn trusted(&self) -> Arc<SealedCache> {
        self.sealed.load_full()
    }

    pub(super) fn assess(&self, seen: &Observation) -> Probe {
        let evicts = seen.evicts.is_some();
        if self.evicts.swap(evicts, Ordering::AcqRel) && !evicts {
            // Eviction stopped, but the entries evicted before are unknown.
            self.record_failed_write();
        }
        let foreign_owner = seen.epochs.foreign_owner(&self.deployment);
        let mut state = self.state();
        state.evicts.clone_from(&seen.evicts);
        state.foreign_owner = foreign_owner.map(ToOwned::to_owned);
        if state.last_identities != seen.identities {
            state.last_identities.clone_from(&seen.identities);
            state.number += 1;
        }
        let kept = !self.has_failed_write()
            && self.is_fresh_at(seen.sent_at)
            && seen.epochs.are_complete()
            && self.sealed.load().epochs == seen.epochs
            && state
                .filled
                .as_ref()
                .is_some_and(|filled| filled.is_still(seen));
        let filling = state.filling.as_ref().filter(|(filling, ticket)| {
            seen.tickets
                && filling.is_still(seen)
                && *ticket == self.failed_writes.load(Ordering::Acquire)
        });
        let cache_state = match filling {
            _ if kept => CacheState::Current,
            _ if foreign_owner.is_some() => CacheState::Foreign,
            Some((_, ticket)) => CacheState::Rebuilding(*ticket),
            None => CacheState::Unknown,
        };
        if kept {
            self.record_verified(seen.sent_at);
        }
        Probe {
            state: cache_state,
            number: state.number,
            connection: seen.failures,
        }
    }

    pub(super) fn restore(&self, failures: u64) {
        self.seen.store(failures, Ordering::Release);
    }

    /// Starts a rebuild of the observed cache and returns its ticket.
    pub(super) fn begin_rebuild(&self, seen: Observation) -> u64 {
        let ticket = self.failed_writes.load(Ordering::Acquire);
        let mut state = self.state();
        state.begun += 1;
        state.filling = Some((
            FilledCache {
                identity: seen.identities,
                readings: seen.readings,
            },
            ticket,
        ));
        ticket
    }

    /// Returns the terms on which the current rebuild seals the cache epochs of the server at
    /// `address`.
    pub(super) fn sealing_term(&self, address: &str) -> Term {
        let state = self.state();
        term(
            state
                .filling
                .as_ref()
                .and_then(|(filling, _)| filling.readings.get(address)),
        )
    }

    /// Returns the values with which the current rebuild seals cache epochs. `process` is unique to
    /// this process.
    pub(super) fn name_epochs(&self, process: &str) -> EpochName {
        let owner = format!("{}:", self.deployment.as_str());
        // Each lookup reads the value, so it is short.
        let new_value = format!(
            "{owner}{}.{}",
            process.get(..12).unwrap_or(process),
            self.state().begun
        );
        EpochName { owner, new_value }
    }

    /// Ends a rebuild. Returns true if the filled cache is the one in `seen` and still holds the
    /// `sealed` epochs.
    pub(super) fn end_rebuild(&self, ticket: u64, sealed: Epochs, seen: &Observation) -> bool {
        let mut state = self.state();
        let filling = state
            .filling
            .take()
            .map(|(filling, _)| filling)
            .filter(|filling| filling.is_still(seen));
        let Some(filled) = filling.filter(|_| sealed.are_complete() && sealed == seen.epochs)
        else {
            return false;
        };
        let readings = filled.readings.clone();
        state.filled = Some(filled);
        drop(state);
        // Counted first: a lookup sent before must not be trusted with the epochs stored below.
        self.rebuilds.fetch_add(1, Ordering::AcqRel);
        self.sealed.store(Arc::new(SealedCache {
            epochs: sealed,
            readings,
        }));
        self.record_verified(seen.sent_at);
        self.seen.store(seen.failures, Ordering::Release);
        self.covered_writes.store(ticket, Ordering::Release);
        true
    }

    /// Returns the problems found by the last probe, one sentence each. Another deployment is
    /// reported only if the own one `is_known`.
    pub(super) fn warnings(&self, is_known: bool) -> Vec<String> {
        let state = self.state();
        let foreign_owner = state.foreign_owner.as_deref().filter(|_| is_known);
        state
            .evicts
            .as_deref()
            .map(eviction_warning)
            .into_iter()
            .chain(foreign_owner.map(foreign_warning))
            .collect()
    }

    /// Records that a probe sent at this time found the cache kept.
    fn record_verified(&self, at: Instant) {
        self.verified_at
            .store(self.milliseconds(at), Ordering::Release);
    }

    /// Returns true if a probe found the cache kept within the lifetime of a cache epoch. A
    /// process that was paused or disconnected for longer has no knowledge of the cache.
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FilledCache {
    /// Returns true if `seen` has the same identity and no clock has jumped since the rebuild
    /// began.
    fn is_still(&self, seen: &Observation) -> bool {
        let keeps_pace = |(address, then): (&String, &ClockReading)| {
            seen.readings
                .get(address)
                .is_some_and(|now| !now.has_jumped_since(then))
        };
        self.identity == seen.identities && self.readings.iter().all(keeps_pace)
    }
}

impl SealedCache {
    /// Returns the terms on which the cache epochs of the server at `address` are renewed.
    pub(super) fn term(&self, address: &str) -> Term {
        term(self.readings.get(address))
    }
}

/// Returns terms that end once the server's clock shows a later time than is possible since
/// `reading`.
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
            sent_at: Instant::now(),
            identities: Vec::new(),
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
        self.identities
            .push(format!("{address} {buckets:?} {}", server.cache_identity));
        self.readings.insert(address.to_owned(), reading);
        self.evicts = self.evicts.take().or(server.eviction_policy);
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "trust_tests.rs"]
mod tests;
