//! All connections that are open, by source: who may open another, and who makes room for it.

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
use crate::domain::network::{Source, TrustedProxies, is_local, source_of};

/// How many connections there may be.
#[derive(Clone, Debug)]
pub struct Capacity {
    /// In all.
    pub total: usize,
    /// From one source on the internet.
    pub source: usize,
    /// Proxies, whose connections carry the requests of many clients: only the total bounds them.
    pub proxies: TrustedProxies,
}

/// Numbers for metrics: how many are open, how many there may be, and what became of the others since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ConnectionStatus {
    /// Open now.
    pub open: usize,
    /// The most that there may be.
    pub limit: usize,
    /// Closed to make room for others.
    pub evicted: u64,
    /// Refused: every connection that could make room was busy.
    pub refused: u64,
    /// Closed because a state had lasted too long.
    pub timed_out: u64,
}

/// The register. Share it behind an `Arc`.
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

/// A connection's place in the register. Dropping it gives the place back.
pub(super) struct Place {
    pub connection: Arc<Connection>,
    register: Arc<Connections>,
    source: Option<Source>,
}

impl Connections {
    /// An empty register.
    #[must_use]
    pub fn new(capacity: Capacity, limits: Limits) -> Self {
        let (by_source, open, evicted, refused, timed_out) = Default::default();
        Self { capacity, limits, by_source, open, evicted, refused, timed_out }
    }

    /// Numbers for metrics.
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

    /// Closes every connection that has been in its state for too long. Run it every second.
    pub fn reap(&self) {
        let now = Instant::now();
        let connections = self.by_source();
        for connection in connections.values().flatten() {
            if connection.deadline(&self.limits) < now {
                self.timed_out.fetch_add(1, Relaxed);
                connection.close();
            }
        }
    }

    /// A place for a connection from `peer`, which another one may have to give up. With it comes the order to close the
    /// connection, once it is given. `None` while every connection that could make room is busy.
    pub(super) fn open(self: &Arc<Self>, peer: Option<SocketAddr>) -> Option<(Place, oneshot::Receiver<()>)> {
        let address = peer.map(|peer| peer.ip().to_canonical());
        let source = address.map(source_of);
        let mut by_source = self.by_source();
        let own = by_source.get(&source).map_or(0, Vec::len);
        if own >= self.most(address) {
            self.evict(by_source.get(&source))?;
        } else if self.open.load(Relaxed) >= self.capacity.total {
            // The source that holds most is the one that the others suffer from.
            self.evict(by_source.values().max_by_key(|connections| connections.len()))?;
        }
        let (close, order) = oneshot::channel();
        let connection = Arc::new(Connection::new(close));
        by_source.entry(source).or_default().push(Arc::clone(&connection));
        self.open.fetch_add(1, Relaxed);
        Some((Place { connection, register: Arc::clone(self), source }, order))
    }

    /// Closes the connection of these that others need least. It leaves the register when it is closed.
    fn evict(&self, connections: Option<&Vec<Arc<Connection>>>) -> Option<()> {
        let idle = connections.into_iter().flatten().filter_map(|connection| Some((connection.rank()?, connection)));
        let Some((_, least)) = idle.min_by_key(|(rank, _)| *rank) else {
            self.refused.fetch_add(1, Relaxed);
            return None;
        };
        least.close();
        self.evicted.fetch_add(1, Relaxed);
        Some(())
    }

    /// A client on this machine or network may be a proxy that the settings do not name, so it may hold nearly all.
    fn most(&self, address: Option<IpAddr>) -> usize {
        match address {
            Some(address) if self.capacity.proxies.contains(address) => self.capacity.total,
            Some(address) if !is_local(address) => self.capacity.source.min(self.capacity.total),
            _ => self.capacity.total - self.capacity.total / 8,
        }
    }

    fn by_source(&self) -> MutexGuard<'_, HashMap<Option<Source>, Vec<Arc<Connection>>>> {
        self.by_source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_source = self.register.by_source();
        if let Some(connections) = by_source.get_mut(&self.source) {
            if let Some(index) = connections.iter().position(|known| Arc::ptr_eq(known, &self.connection)) {
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
