//! Register of open connections by source. It admits new connections and evicts waiting ones.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use tokio::sync::oneshot;

use super::progress::{Connection, Limits};
use latchkey_domain::network::{Source, TrustedProxies, is_local, source_of};

/// Maximum numbers of connections.
#[derive(Clone, Debug)]
pub struct Capacity {
    /// In total.
    pub total: usize,
    /// For one source with a public address.
    pub source: usize,
    /// Trusted proxies. Their connections carry requests of many clients, so only the total limits
    /// them.
    pub proxies: TrustedProxies,
}

/// Numbers for metrics. The counters start with the process.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ConnectionStatus {
    /// Open connections.
    pub open: usize,
    /// Maximum number of open connections.
    pub limit: usize,
    /// Connections closed to admit new ones.
    pub evicted: u64,
    /// Connections refused because no open one could be evicted.
    pub refused: u64,
    /// Connections closed after the deadline of their state.
    pub timed_out: u64,
}

/// Register of connections. Share it behind an `Arc`.
#[derive(Debug)]
pub struct Connections {
    capacity: Capacity,
    limits: Limits,
    by_source: Mutex<HashMap<Option<Source>, Vec<Arc<Connection>>>>,
    open: AtomicUsize,
    evicted: AtomicU64,
    refused: AtomicU64,
    timed_out: AtomicU64,
}

/// A connection's place in the register. Dropping it frees the place.
pub(super) struct Place {
    pub connection: Arc<Connection>,
    register: Arc<Connections>,
    source: Option<Source>,
}

impl Connections {
    /// Creates an empty register.
    #[must_use]
    pub fn new(capacity: Capacity, limits: Limits) -> Self {
        let (by_source, open, evicted, refused, timed_out) = Default::default();
        Self {
            capacity,
            limits,
            by_source,
            open,
            evicted,
            refused,
            timed_out,
        }
    }

    /// Returns the numbers for metrics.
    #[must_use]
    pub fn status(&self) -> ConnectionStatus {
        ConnectionStatus {
            open: self.open.load(Relaxed),
            limit: self.capacity.total,
            evicted: self.evicted.load(Relaxed),
            refused: self.refused.load(Relaxed),
            timed_out: self.timed_out.load(Relaxed),
        }
    }

    /// Closes every connection after the deadline of its state. To be called every second.
    pub fn close_expired(&self) {
        let now = Instant::now();
        let connections = self.by_source();
        for connection in connections.values().flatten() {
            if connection.deadline(&self.limits) < now {
                self.timed_out.fetch_add(1, Relaxed);
                connection.close();
            }
        }
    }

    /// Returns a place for a connection from `peer`, and evicts another connection if necessary.
    /// The receiver gets a message when the connection has to be closed. Returns `None` if no
    /// connection can be evicted.
    pub(super) fn open(
        self: &Arc<Self>,
        peer: Option<SocketAddr>,
    ) -> Option<(Place, oneshot::Receiver<()>)> {
        let address = peer.map(|peer| peer.ip().to_canonical());
        let source = address.map(source_of);
        let mut by_source = self.by_source();
        let own = by_source.get(&source).map_or(0, Vec::len);
        if own >= self.limit_of(address) {
            self.evict(first(by_source.get(&source).into_iter().flatten()))?;
        } else if self.open.load(Relaxed) >= self.capacity.total {
            // The source with most connections is the likely attacker.
            let largest = by_source
                .values()
                .max_by_key(|connections| connections.len());
            let victim = first(largest.into_iter().flatten())
                .or_else(|| first(by_source.values().flatten()));
            self.evict(victim)?;
        }
        let (close, order) = oneshot::channel();
        let connection = Arc::new(Connection::new(close));
        by_source
            .entry(source)
            .or_default()
            .push(Arc::clone(&connection));
        self.open.fetch_add(1, Relaxed);
        Some((
            Place {
                connection,
                register: Arc::clone(self),
                source,
            },
            order,
        ))
    }

    /// Closes a connection to admit a new one. It leaves the register once it is closed.
    /// Returns `None` and counts a refusal if there is no victim.
    fn evict(&self, victim: Option<&Arc<Connection>>) -> Option<()> {
        let Some(victim) = victim else {
            self.refused.fetch_add(1, Relaxed);
            return None;
        };
        victim.close();
        self.evicted.fetch_add(1, Relaxed);
        Some(())
    }

    /// Returns the maximum number of connections of an address. A client on this machine or in a
    /// private network may be a proxy that is not configured, so it may hold seven eighths of the
    /// total.
    fn limit_of(&self, address: Option<IpAddr>) -> usize {
        match address {
            Some(address) if self.capacity.proxies.contains(address) => self.capacity.total,
            Some(address) if !is_local(address) => self.capacity.source.min(self.capacity.total),
            _ => self.capacity.total - self.capacity.total / 8,
        }
    }

    fn by_source(&self) -> MutexGuard<'_, HashMap<Option<Source>, Vec<Arc<Connection>>>> {
        self.by_source
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the first connection in the order of eviction.
fn first<'a>(
    connections: impl Iterator<Item = &'a Arc<Connection>>,
) -> Option<&'a Arc<Connection>> {
    let ranked = connections.filter_map(|connection| Some((connection.rank()?, connection)));
    ranked
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, connection)| connection)
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_source = self.register.by_source();
        if let Some(connections) = by_source.get_mut(&self.source) {
            if let Some(index) = connections
                .iter()
                .position(|known| Arc::ptr_eq(known, &self.connection))
            {
                connections.swap_remove(index);
            }
            if connections.is_empty() {
                by_source.remove(&self.source);
            }
        }
        self.register.open.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
#[path = "register_tests.rs"]
mod tests;
