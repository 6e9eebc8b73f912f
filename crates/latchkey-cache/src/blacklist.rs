//! Lookups and entries of the blacklist in Redis.
//!
//! The rule: an entry that is found is always honoured. A missing entry proves that a token is not
//! revoked (`Clear`) only if all of these hold for the servers of all buckets:
//! 1. Same cache: the bucket's cache epoch in the reply is the value that the last rebuild of this
//!    process sealed. So Redis still holds the cache that this process filled from its own database.
//!    A cache epoch expires after a minute unless a probe renews it (`epoch.rs`).
//! 2. Fresh probe: the last probe that found the cache kept was sent less than a minute ago. It
//!    found the cache identity and the clocks as they were at the rebuild (`clock_drift.rs`). After
//!    a clock jump, entries expire too early.
//! 3. No failed write: no write of this process failed since the last rebuild began, apart from
//!    best-effort writes.
//! 4. No failed connection: no connection failed, and no server changed its address, since the last
//!    replay to the same cache. A server restarted from an old snapshot or a promoted replica may
//!    have the cache epoch and lack the latest entries.
//! 5. No eviction: no server has a memory limit with a policy other than `noeviction`. Such a
//!    policy may evict an entry and keep the cache epoch.
//! 6. No change during the lookup: the counters of rebuilds and of failed connections are the same
//!    before the lookup and after its reply.
//!
//! Otherwise the result is `Unknown`, and the database is queried.

mod observe;
mod workers;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use async_trait::async_trait;
use chrono::TimeDelta;
use futures_util::future::join_all;
use redis::{FromRedisValue, Pipeline, pipe};

use self::workers::{Worker, Workers};
use super::{
    connection::{NodeConnection, Via},
    epoch::Epochs,
    key_names::KeyNames,
    scripts::{self, Entry},
    slot_map::SlotMap,
    topology::Topology,
    trust::Trust,
    url::RedisOptions,
};
use latchkey_domain::{
    ids::DeploymentId,
    ports::{
        Blacklist, BlacklistEntry, BlacklistStatus, CacheState, Lookup, Probe, StoreError, TokenRef,
    },
};

const REVOKED: &str = "revoked";

/// Milliseconds until the ticket of a rebuild expires if its process died.
const TICKET_LIFETIME: u64 = 24 * 60 * 60 * 1000;

/// Maximum of entries in one call of the script, because Redis serves no other client during it.
const ENTRIES_PER_SCRIPT: usize = 200;

/// Blacklist of one process. Clones share the cache state and the connections.
#[derive(Clone)]
pub struct RedisBlacklist {
    shared: Arc<Shared>,
    via: Via,
    _worker: Option<Arc<Worker>>,
}

struct Shared {
    trust: Trust,
    keys: KeyNames,
    process: String,
    topology: Topology,
    workers: Workers,
}

impl RedisBlacklist {
    /// Creates a blacklist of `deployment` that connects on first use. `process` is unique to this
    /// process. The current runtime drives the shared connections; workers drive their own.
    ///
    /// # Errors
    /// A URL or a certificate that cannot be used.
    pub fn open(
        options: &RedisOptions,
        deployment: DeploymentId,
        process: String,
    ) -> Result<Self, StoreError> {
        let trust = Trust::new(deployment);
        let topology = Topology::new(options, Arc::clone(&trust.failures))?;
        let shared = Shared {
            trust,
            keys: KeyNames::new(&options.prefix),
            process,
            topology,
            workers: Workers::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            via: Via::Shared,
            _worker: None,
        })
    }

    /// Returns the blacklist of a worker of the web server: its requests use connections that the
    /// worker's runtime drives, or the shared ones if all workers' connections are in use.
    #[must_use]
    pub fn for_worker(&self) -> Self {
        let slots = self.shared.topology.worker_slots();
        let worker = self.shared.workers.take(slots).map(Arc::new);
        Self {
            shared: Arc::clone(&self.shared),
            via: worker
                .as_ref()
                .map_or(Via::Shared, |worker| Via::Worker(worker.index())),
            _worker: worker,
        }
    }

    /// Returns the current servers. Finds them first if no probe has run, as in operators'
    /// commands.
    async fn route(&self) -> Result<Arc<SlotMap>, StoreError> {
        match self.shared.topology.route() {
            Some(route) => Ok(route),
            None => self.shared.topology.find(&self.shared.keys).await,
        }
    }

    fn entry(&self, (entry, ttl): &(BlacklistEntry, TimeDelta)) -> Entry {
        let ttl = ttl.num_milliseconds().max(1);
        match entry {
            BlacklistEntry::SessionEpoch {
                user,
                session_epoch,
            } => (self.shared.keys.user(user), session_epoch.to_string(), ttl),
            BlacklistEntry::SessionRevoked { session, user } => (
                self.shared.keys.session(user, *session),
                REVOKED.to_owned(),
                ttl,
            ),
            BlacklistEntry::GenerationRotated {
                session,
                user,
                generation,
            } => (
                self.shared.keys.session(user, *session),
                generation.to_string(),
                ttl,
            ),
        }
    }

    /// Writes entries. Returns true if all buckets written to have a cache epoch.
    async fn raise(
        &self,
        entries: &[(BlacklistEntry, TimeDelta)],
        via: Via,
    ) -> Result<bool, StoreError> {
        let mut buckets: BTreeMap<u8, Vec<Entry>> = BTreeMap::new();
        for entry in entries {
            buckets
                .entry(KeyNames::bucket(entry.0.user()))
                .or_default()
                .push(self.entry(entry));
        }
        if buckets.is_empty() {
            return Ok(true);
        }
        let epochs = self
            .on_all::<i64>(via, |_, bucket, pipeline| {
                let Some(entries) = buckets.get(&bucket) else {
                    return;
                };
                for entries in entries.chunks(ENTRIES_PER_SCRIPT) {
                    pipeline.add_command(scripts::raise(entries)).ignore();
                }
                pipeline.cmd("EXISTS").arg(self.shared.keys.epoch(bucket));
            })
            .await?;
        Ok(epochs.iter().all(|(_, count)| *count > 0))
    }

    /// Finds the servers again. Returns true if they differ from `before`.
    async fn have_moved(&self, before: Option<&Arc<SlotMap>>) -> bool {
        let Some(before) = before.filter(|_| self.shared.topology.moves()) else {
            return false;
        };
        self.shared
            .topology
            .find(&self.shared.keys)
            .await
            .is_ok_and(|found| !Arc::ptr_eq(before, &found))
    }

    /// Sends one pipeline to each server for which `write` adds a command. `write` gets the
    /// server's address and each of its buckets. Returns one reply for each bucket with a command.
    async fn on_all<T: FromRedisValue>(
        &self,
        via: Via,
        write: impl Fn(&str, u8, &mut Pipeline),
    ) -> Result<Vec<(u8, T)>, StoreError> {
        let route = self.route().await?;
        let mut requests: Vec<(Arc<NodeConnection>, Vec<u8>, Pipeline)> = Vec::new();
        for node in &route.nodes {
            let (mut buckets, mut pipeline) = (Vec::new(), pipe());
            for bucket in &node.buckets {
                let before = pipeline.len();
                write(node.link.address(), *bucket, &mut pipeline);
                if pipeline.len() > before {
                    buckets.push(*bucket);
                }
            }
            if !buckets.is_empty() {
                requests.push((Arc::clone(&node.link), buckets, pipeline));
            }
        }
        let replies = requests.iter().map(|(link, buckets, pipeline)| async move {
            let replies = link.query_pipeline::<Vec<T>>(via, pipeline).await?;
            Ok(buckets.iter().copied().zip(replies).collect::<Vec<_>>())
        });
        Ok(join_all(replies)
            .await
            .into_iter()
            .collect::<Result<Vec<_>, StoreError>>()?
            .into_iter()
            .flatten()
            .collect())
    }
}

fn number(entry: Option<&String>) -> Option<u32> {
    entry?.parse().ok()
}

#[async_trait]
impl Blacklist for RedisBlacklist {
    async fn check(&self, token: &TokenRef) -> Lookup {
        let bucket = KeyNames::bucket(&token.user);
        let before = self.shared.trust.counters();
        let Some(route) = self.shared.topology.route() else {
            return Lookup::Unknown;
        };
        let Some(link) = route.connection(bucket) else {
            return Lookup::Unknown;
        };
        let command = self.shared.keys.lookup_command(&token.user, token.session);
        let reply: Result<(Option<String>, Option<String>, Option<String>), _> =
            link.query(self.via, &command).await;
        let Ok((epoch, session, user)) = reply else {
            return Lookup::Unknown;
        };
        if session.as_deref() == Some(REVOKED) {
            return Lookup::Revoked;
        }
        if number(user.as_ref()).is_some_and(|lowest| token.session_epoch < lowest) {
            return Lookup::StaleEpoch;
        }
        if let (Some(generation), Some(lowest)) = (token.generation, number(session.as_ref()))
            && generation < lowest
        {
            return Lookup::Spent;
        }
        // An entry that cannot be parsed proves nothing, and neither does its key.
        let readable = [&session, &user]
            .iter()
            .all(|entry| entry.is_none() || number(entry.as_ref()).is_some());
        let is_trusted = readable
            && self
                .shared
                .trust
                .is_given_for(bucket, epoch.as_deref(), before);
        if is_trusted {
            Lookup::Clear
        } else {
            Lookup::Unknown
        }
    }

    async fn write(&self, entries: &[(BlacklistEntry, TimeDelta)]) -> Result<(), StoreError> {
        let before = self.shared.topology.route();
        let mut written = self.raise(entries, self.via).await;
        // A replaced master accepts writes for some seconds, and other instances do not read them.
        // The first instance that left it deleted its cache epochs, so a missing epoch triggers a
        // search.
        let moved = !matches!(written, Ok(true)) && self.have_moved(before.as_ref()).await;
        // A slow reply puts the standing connection into back-off. Retry at once on a new one:
        // other instances trust the blacklist without this entry.
        if moved || written.is_err() {
            written = self.raise(entries, Via::OneOff).await;
        }
        if written.is_err() {
            self.shared.trust.record_failed_write();
        }
        written.map(drop)
    }

    async fn write_best_effort(
        &self,
        entries: &[(BlacklistEntry, TimeDelta)],
    ) -> Result<(), StoreError> {
        self.raise(entries, self.via).await.map(drop)
    }

    async fn probe(&self) -> Result<Probe, StoreError> {
        match self.observe().await {
            Ok(seen) => {
                let probe = self.shared.trust.assess(&seen);
                if probe.state != CacheState::Current {
                    // No connection need have failed: a server may have become a replica.
                    self.shared.trust.withdraw();
                }
                Ok(probe)
            }
            Err(error) => {
                self.shared.trust.withdraw();
                Err(error)
            }
        }
    }

    fn trust(&self, probe: &Probe) {
        self.shared.trust.restore(probe.connection);
    }

    async fn start_rebuild(&self) -> Result<u64, StoreError> {
        let ticket = self.shared.trust.begin_rebuild(self.observe().await?);
        self.on_all::<()>(self.via, |_, bucket, pipeline| {
            let key = self
                .shared
                .keys
                .rebuild_ticket(bucket, &self.shared.process);
            pipeline
                .cmd("SET")
                .arg(key)
                .arg(ticket)
                .arg("PX")
                .arg(TICKET_LIFETIME);
        })
        .await?;
        Ok(ticket)
    }

    fn record_failed_rebuild(&self) {
        self.shared
            .trust
            .failed_rebuilds
            .fetch_add(1, Ordering::Relaxed);
    }

    async fn finish_rebuild(&self, ticket: u64) -> Result<bool, StoreError> {
        let name = self.shared.trust.name_epochs(&self.shared.process);
        let seals = self
            .on_all::<Option<String>>(self.via, |address, bucket, pipeline| {
                let (epoch, ticket_key) = (
                    self.shared.keys.epoch(bucket),
                    self.shared
                        .keys
                        .rebuild_ticket(bucket, &self.shared.process),
                );
                let term = self.shared.trust.sealing_term(address);
                pipeline.add_command(scripts::seal(&epoch, (&ticket_key, ticket), &name, term));
            })
            .await?;
        let mut sealed = Epochs::default();
        for (bucket, epoch) in seals {
            sealed.set(bucket, epoch);
        }
        let seen = self.observe().await?;
        Ok(self.shared.trust.end_rebuild(ticket, sealed, &seen))
    }

    fn status(&self) -> BlacklistStatus {
        BlacklistStatus {
            reachable: self
                .shared
                .topology
                .route()
                .is_some_and(|route| route.is_reachable()),
            trusted: self.shared.trust.is_given(),
            rebuilds: self.shared.trust.rebuilds.load(Ordering::Relaxed),
            failed_rebuilds: self.shared.trust.failed_rebuilds.load(Ordering::Relaxed),
            failures: self.shared.trust.failures.load(Ordering::Acquire),
        }
    }

    fn warnings(&self) -> Vec<String> {
        self.shared.trust.warnings(true)
    }
}
