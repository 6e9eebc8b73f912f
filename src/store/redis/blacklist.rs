//! Marks, and when their absence may be believed.
//!
//! "No mark" means "not revoked" only while this holds, of every server that holds a bucket:
//! - the epoch is the one that a rebuild of this process sealed: Redis still has the memory that this process filled
//!   from its own database. Epochs end within a minute (`epoch.rs`), unless a look renews them;
//! - the last look is less than a minute old, and the server's clock keeps pace with ours: when it jumps, entries end
//!   too early;
//! - no write of this process failed since then, apart from those that are repeated or that nobody relies on;
//! - no connection failed, and no server changed its place, since what was revoked lately was last written again to
//!   what was seen to be the same memory: one that started again from an old snapshot, or a replica that took over, has
//!   the epoch, but not the last marks;
//! - Redis does not evict, and has evicted nothing: under any policy but `noeviction` a mark may go while the epoch stays.
//!
//! In every other case the answer is `Unknown`, and the database decides. A mark that is there is always believed.

mod observe;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use async_trait::async_trait;
use chrono::TimeDelta;
use futures_util::future::join_all;
use redis::{FromRedisValue, Pipeline, pipe};

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
use crate::{
    domain::ids::DeploymentId,
    ports::{
        Blacklist, BlacklistEntry, BlacklistStatus, CacheState, Lookup, Probe, StoreError, TokenRef,
    },
};

const REVOKED: &str = "revoked";

/// What a rebuild leaves behind when its process dies goes by itself, in milliseconds.
const TICKET_LIFETIME: u64 = 24 * 60 * 60 * 1000;

/// Marks in one call of the script, which nothing else runs beside.
const ENTRIES_PER_SCRIPT: usize = 200;

/// The blacklist of one process. Share it behind an `Arc`.
pub struct RedisBlacklist {
    trust: Trust,
    keys: KeyNames,
    process: String,
    topology: Topology,
}

impl RedisBlacklist {
    /// Creates a blacklist of `deployment` that connects on first use. `process` is unique to this process. Connections
    /// are driven by the runtime that this is called on, those of threads with one of their own apart.
    ///
    /// # Errors
    /// When the URL or the certificate cannot be used at all.
    pub fn open(
        options: &RedisOptions,
        deployment: DeploymentId,
        process: String,
    ) -> Result<Self, StoreError> {
        let belief = Trust::new(deployment);
        let topology = Topology::new(options, Arc::clone(&belief.failures))?;
        Ok(Self {
            trust: belief,
            keys: KeyNames::new(&options.prefix),
            process,
            topology,
        })
    }

    /// For writers, who may come before the first look: commands of operators never look.
    async fn route(&self) -> Result<Arc<SlotMap>, StoreError> {
        match self.topology.route() {
            Some(route) => Ok(route),
            None => self.topology.find(&self.keys).await,
        }
    }

    fn entry(&self, (mark, life): &(BlacklistEntry, TimeDelta)) -> Entry {
        let life = life.num_milliseconds().max(1);
        match mark {
            BlacklistEntry::SessionEpoch {
                user,
                session_epoch: version,
            } => (self.keys.user(user), version.to_string(), life),
            BlacklistEntry::SessionRevoked { session, user } => {
                (self.keys.session(user, *session), REVOKED.to_owned(), life)
            }
            BlacklistEntry::GenerationRotated {
                session,
                user,
                generation,
            } => (
                self.keys.session(user, *session),
                generation.to_string(),
                life,
            ),
        }
    }

    /// Whether the servers that took the marks had their epochs.
    async fn raise(
        &self,
        marks: &[(BlacklistEntry, TimeDelta)],
        way: Via,
    ) -> Result<bool, StoreError> {
        let mut buckets: BTreeMap<u8, Vec<Entry>> = BTreeMap::new();
        for mark in marks {
            buckets
                .entry(KeyNames::bucket(mark.0.user()))
                .or_default()
                .push(self.entry(mark));
        }
        if buckets.is_empty() {
            return Ok(true);
        }
        let epochs = self
            .on_all::<i64>(way, |_, bucket, pipeline| {
                let Some(entries) = buckets.get(&bucket) else {
                    return;
                };
                for entries in entries.chunks(ENTRIES_PER_SCRIPT) {
                    pipeline.add_command(scripts::raise(entries)).ignore();
                }
                pipeline.cmd("EXISTS").arg(self.keys.epoch(bucket));
            })
            .await?;
        Ok(epochs.iter().all(|(_, count)| *count > 0))
    }

    /// Whether the servers are found elsewhere than `before`.
    async fn have_moved(&self, before: Option<&Arc<SlotMap>>) -> bool {
        let Some(before) = before.filter(|_| self.topology.moves()) else {
            return false;
        };
        self.topology
            .find(&self.keys)
            .await
            .is_ok_and(|found| !Arc::ptr_eq(before, &found))
    }

    /// Sends one pipeline to each server for which `write` adds a command. `write` gets the server's address and each
    /// of its buckets. Returns one answer for each bucket with a command.
    async fn on_all<T: FromRedisValue>(
        &self,
        way: Via,
        write: impl Fn(&str, u8, &mut Pipeline),
    ) -> Result<Vec<(u8, T)>, StoreError> {
        let route = self.route().await?;
        let mut asked: Vec<(Arc<NodeConnection>, Vec<u8>, Pipeline)> = Vec::new();
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
                asked.push((Arc::clone(&node.link), buckets, pipeline));
            }
        }
        let answers = asked.iter().map(|(link, buckets, pipeline)| async move {
            let answers = link.query_pipeline::<Vec<T>>(way, pipeline).await?;
            Ok(buckets.iter().copied().zip(answers).collect::<Vec<_>>())
        });
        Ok(join_all(answers)
            .await
            .into_iter()
            .collect::<Result<Vec<_>, StoreError>>()?
            .into_iter()
            .flatten()
            .collect())
    }
}

fn number(mark: Option<&String>) -> Option<u32> {
    mark?.parse().ok()
}

#[async_trait]
impl Blacklist for RedisBlacklist {
    async fn check(&self, token: &TokenRef) -> Lookup {
        let bucket = KeyNames::bucket(&token.user);
        let before = self.trust.counters();
        let Some(route) = self.topology.route() else {
            return Lookup::Unknown;
        };
        let Some(link) = route.connection(bucket) else {
            return Lookup::Unknown;
        };
        let question = self.keys.lookup_command(&token.user, token.session);
        let answer: Result<(Option<String>, Option<String>, Option<String>), _> =
            link.query(Via::Worker, &question).await;
        let Ok((epoch, session, user)) = answer else {
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
        // A mark that cannot be read says nothing, and then neither does its absence.
        let readable = [&session, &user]
            .iter()
            .all(|mark| mark.is_none() || number(mark.as_ref()).is_some());
        let believed = readable && self.trust.is_given_for(bucket, epoch.as_deref(), before);
        if believed {
            Lookup::Clear
        } else {
            Lookup::Unknown
        }
    }

    async fn write(&self, marks: &[(BlacklistEntry, TimeDelta)]) -> Result<(), StoreError> {
        let before = self.topology.route();
        let mut written = self.raise(marks, Via::Worker).await;
        // A master that others have left lives on for seconds, and takes marks that they do not see: it has lost its
        // epochs to the first who left it.
        let moved = !matches!(written, Ok(true)) && self.have_moved(before.as_ref()).await;
        // One slow answer, and the standing connection rests for a second. The others would go on believing that nothing
        // was revoked meanwhile.
        if moved || written.is_err() {
            written = self.raise(marks, Via::OneOff).await;
        }
        if written.is_err() {
            self.trust.record_failed_write();
        }
        written.map(drop)
    }

    async fn write_best_effort(
        &self,
        marks: &[(BlacklistEntry, TimeDelta)],
    ) -> Result<(), StoreError> {
        self.raise(marks, Via::Worker).await.map(drop)
    }

    async fn probe(&self) -> Result<Probe, StoreError> {
        match self.observe().await {
            Ok(seen) => {
                let look = self.trust.assess(&seen);
                if look.state != CacheState::Current {
                    // Nothing need have failed: a server may begin to copy another.
                    self.trust.revoke();
                }
                Ok(look)
            }
            Err(error) => {
                self.trust.revoke();
                Err(error)
            }
        }
    }

    fn trust(&self, look: &Probe) {
        self.trust.restore(look.connection);
    }

    async fn start_rebuild(&self) -> Result<u64, StoreError> {
        let ticket = self.trust.begin_rebuild(self.observe().await?);
        self.on_all::<()>(Via::Worker, |_, bucket, pipeline| {
            let key = self.keys.rebuild_ticket(bucket, &self.process);
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
        self.trust.failed_rebuilds.fetch_add(1, Ordering::Relaxed);
    }

    async fn finish_rebuild(&self, ticket: u64) -> Result<bool, StoreError> {
        let name = self.trust.name_epochs(&self.process);
        let seals = self
            .on_all::<Option<String>>(Via::Worker, |address, bucket, pipeline| {
                let (epoch, building) = (
                    self.keys.epoch(bucket),
                    self.keys.rebuild_ticket(bucket, &self.process),
                );
                let term = self.trust.sealing_term(address);
                pipeline.add_command(scripts::seal(&epoch, (&building, ticket), &name, term));
            })
            .await?;
        let mut sealed = Epochs::default();
        for (bucket, epoch) in seals {
            sealed.note(bucket, epoch);
        }
        let seen = self.observe().await?;
        Ok(self.trust.end_rebuild(ticket, sealed, &seen))
    }

    fn status(&self) -> BlacklistStatus {
        BlacklistStatus {
            reachable: self
                .topology
                .route()
                .is_some_and(|route| route.is_reachable()),
            trusted: self.trust.is_given(),
            rebuilds: self.trust.rebuilds.load(Ordering::Relaxed),
            failed_rebuilds: self.trust.failed_rebuilds.load(Ordering::Relaxed),
            failures: self.trust.failures.load(Ordering::Acquire),
        }
    }

    fn warnings(&self) -> Vec<String> {
        self.trust.warnings(true)
    }
}
