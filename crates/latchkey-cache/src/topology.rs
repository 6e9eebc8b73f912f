//! Discovery of the servers: a single server, a master named by Sentinels, or the masters of a
//! cluster.

use std::sync::{
    Arc, Mutex, PoisonError, RwLock,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use redis::{ConnectionInfo, RedisError, Value, cmd, from_redis_value, pipe};
use tokio::runtime::Handle;

use super::{
    connection::{NodeConnection, Via},
    info::ServerInfo,
    key_names::{BUCKETS, KeyNames},
    slot_map::{Node, SlotMap},
    url::{RedisOptions, client, moved, place},
};
use latchkey_domain::ports::StoreError;

pub(super) struct Topology {
    /// True for a cluster. `None` until a server was queried.
    cluster: Mutex<Option<bool>>,
    /// Number of failed connections and of route changes.
    failures: Arc<AtomicU64>,
    options: RedisOptions,
    /// Runtime that drives the shared connections, also those to servers found later.
    runtime: Option<Handle>,
    route: RwLock<Option<Arc<SlotMap>>>,
    /// Servers in the URL: one server, some of a cluster's, or the name of the master.
    seeds: Vec<ConnectionInfo>,
    sentinels: Vec<Arc<NodeConnection>>,
    /// Index of the Sentinel that replied last.
    sentinel: AtomicUsize,
    /// Slot of each bucket. Empty until a node was queried.
    slots: Mutex<Vec<u16>>,
}

/// First and last slot of a range, with host and port of its master.
type Range = (u16, u16, String, u16);

impl Topology {
    /// Returns the number of connections for workers. A worker that replaces another one exists
    /// beside it for a while, so there are two for each.
    pub(super) const fn worker_slots(&self) -> usize {
        2 * self.options.workers
    }

    pub(super) fn new(
        options: &RedisOptions,
        failures: Arc<AtomicU64>,
    ) -> Result<Self, StoreError> {
        let seeds = options.url.infos().map_err(|error| unusable(&error))?;
        let sentinels = match &options.sentinels {
            None => Vec::new(),
            Some(url) => url.infos().map_err(|error| unusable(&error))?,
        };
        let mut topology = Self {
            cluster: Mutex::default(),
            failures,
            options: options.clone(),
            runtime: Handle::try_current().ok(),
            route: RwLock::default(),
            seeds,
            sentinels: Vec::new(),
            sentinel: AtomicUsize::new(0),
            slots: Mutex::default(),
        };
        for info in sentinels {
            topology.sentinels.push(topology.one_off(info)?);
        }
        if topology.sentinels.is_empty() {
            // Reports a certificate that cannot be used at start.
            for info in topology.seeds.clone() {
                topology.one_off(info)?;
            }
        }
        Ok(topology)
    }

    /// Returns the servers found last.
    pub(super) fn route(&self) -> Option<Arc<SlotMap>> {
        self.route
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Finds the current servers. If no Sentinel replies, the master known last is kept.
    pub(super) async fn find(&self, keys: &KeyNames) -> Result<Arc<SlotMap>, StoreError> {
        let known = self.route();
        let found = if !self.sentinels.is_empty() {
            self.by_sentinel(known.as_ref()).await?
        } else if self.is_cluster().await? {
            self.by_slots(keys, known.as_ref()).await?
        } else {
            self.by_url(known.as_ref())?
        };
        if let Some(known) = known.filter(|known| !known.is_same(&found)) {
            release_epochs(&known, &found, keys).await;
        }
        Ok(self.install(found))
    }

    /// Returns true if the servers may change their addresses.
    pub(super) fn moves(&self) -> bool {
        !self.sentinels.is_empty() || self.is_known_cluster()
    }

    /// Discards the known kind of server, so that the next probe queries it again.
    pub(super) fn forget_kind(&self) {
        *self.cluster.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn is_known_cluster(&self) -> bool {
        *self.cluster.lock().unwrap_or_else(PoisonError::into_inner) == Some(true)
    }

    fn install(&self, found: SlotMap) -> Arc<SlotMap> {
        let mut route = self.route.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = route.as_ref().filter(|known| known.is_same(&found)) {
            return Arc::clone(known);
        }
        let found = Arc::new(found);
        if route.replace(Arc::clone(&found)).is_some() {
            let nodes: Vec<_> = found.nodes.iter().map(|node| node.link.address()).collect();
            tracing::info!(nodes = nodes.join(" "), "Redis servers have changed");
        }
        self.failures.fetch_add(1, Ordering::AcqRel);
        found
    }

    fn by_url(&self, known: Option<&Arc<SlotMap>>) -> Result<SlotMap, StoreError> {
        match self.seeds.as_slice() {
            [info] => Ok(SlotMap::single(self.link(info.clone(), known)?)),
            _ => Err(StoreError::Failed(
                "REDIS_URL names several servers that are no cluster: name one server, or enable cluster mode".to_owned(),
            )),
        }
    }

    async fn by_sentinel(&self, known: Option<&Arc<SlotMap>>) -> Result<SlotMap, StoreError> {
        let seed = self.seeds.first().ok_or_else(no_server)?;
        let name = place(seed.addr())
            .map(|(host, _)| host.to_owned())
            .ok_or_else(no_server)?;
        let mut command = cmd("SENTINEL");
        command.arg("get-master-addr-by-name").arg(&name);
        let mut failure = no_server();
        let first = self.sentinel.load(Ordering::Relaxed);
        for number in
            (0..self.sentinels.len()).map(|number| (first + number) % self.sentinels.len())
        {
            let Some(sentinel) = self.sentinels.get(number) else {
                continue;
            };
            match sentinel
                .query::<Option<(String, u16)>>(Via::Shared, &command)
                .await
            {
                Ok(Some((host, port))) => {
                    self.sentinel.store(number, Ordering::Relaxed);
                    return Ok(SlotMap::single(self.link(moved(seed, &host, port), known)?));
                }
                Ok(None) => {
                    failure = StoreError::Failed(format!(
                        "the Sentinels know no master named {name}: correct the host in REDIS_URL"
                    ));
                }
                Err(error) => failure = error,
            }
        }
        match known.and_then(|route| route.nodes.first()) {
            // No Sentinel replies, so none can promote a replica either.
            Some(node) => Ok(SlotMap::single(Arc::clone(&node.link))),
            None => Err(failure),
        }
    }

    async fn is_cluster(&self) -> Result<bool, StoreError> {
        if let Some(cluster) = *self.cluster.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(cluster);
        }
        let mut failure = no_server();
        for info in &self.seeds {
            match self
                .one_off(info.clone())?
                .query::<String>(Via::Shared, &cmd("INFO"))
                .await
            {
                Ok(info) => {
                    let cluster = ServerInfo::parse(&info).cluster;
                    *self.cluster.lock().unwrap_or_else(PoisonError::into_inner) = Some(cluster);
                    return Ok(cluster);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Queries the known nodes, then those in the URL.
    async fn by_slots(
        &self,
        keys: &KeyNames,
        known: Option<&Arc<SlotMap>>,
    ) -> Result<SlotMap, StoreError> {
        let mut failure = no_server();
        let mut links: Vec<_> = Vec::new();
        for node in known.iter().flat_map(|route| &route.nodes) {
            links.push(Arc::clone(&node.link));
        }
        for info in &self.seeds {
            links.push(self.one_off(info.clone())?);
        }
        for link in links {
            match self.masters(keys, &link).await {
                Ok(masters) => return self.spread(masters, known),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Returns the address of each bucket's master.
    async fn masters(
        &self,
        keys: &KeyNames,
        link: &NodeConnection,
    ) -> Result<Vec<(String, u16)>, StoreError> {
        let slots = self
            .slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let slots = if slots.is_empty() {
            let mut command = pipe();
            for bucket in 0..BUCKETS {
                command
                    .cmd("CLUSTER")
                    .arg("KEYSLOT")
                    .arg(keys.epoch(bucket));
            }
            let slots: Vec<u16> = link.query_pipeline(Via::Shared, &command).await?;
            self.slots
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone_from(&slots);
            slots
        } else {
            slots
        };
        let reply: Vec<Vec<Value>> = link.query(Via::Shared, cmd("CLUSTER").arg("SLOTS")).await?;
        let queried = link.address().rsplit_once(':').map_or("", |(host, _)| host);
        let ranges: Vec<Range> = reply
            .into_iter()
            .filter_map(|range| read_range(range, queried))
            .collect();
        let master = |slot: &u16| {
            let held = ranges
                .iter()
                .find(|(first, last, ..)| (first..=last).contains(&slot));
            held.map(|(_, _, host, port)| (host.clone(), *port))
        };
        let masters: Option<Vec<_>> = slots.iter().map(master).collect();
        masters.ok_or_else(|| {
            StoreError::Unavailable("a slot of the Redis cluster has no master".to_owned())
        })
    }

    fn spread(
        &self,
        masters: Vec<(String, u16)>,
        known: Option<&Arc<SlotMap>>,
    ) -> Result<SlotMap, StoreError> {
        let seed = self.seeds.first().ok_or_else(no_server)?;
        let mut nodes: Vec<Node> = Vec::new();
        for (bucket, (host, port)) in (0..BUCKETS).zip(masters) {
            let info = moved(seed, &host, port);
            let address = info.addr().to_string();
            if let Some(node) = nodes.iter_mut().find(|node| node.link.address() == address) {
                node.buckets.push(bucket);
            } else {
                nodes.push(Node {
                    link: self.link(info, known)?,
                    buckets: vec![bucket],
                });
            }
        }
        nodes.sort_by(|a, b| a.link.address().cmp(b.link.address()));
        Ok(SlotMap { nodes })
    }

    /// Returns the known connection to this address, or a new one. Its failures withdraw trust.
    fn link(
        &self,
        info: ConnectionInfo,
        known: Option<&Arc<SlotMap>>,
    ) -> Result<Arc<NodeConnection>, StoreError> {
        match known.and_then(|route| route.by_address(&info.addr().to_string())) {
            Some(link) => Ok(Arc::clone(link)),
            None => self.open(info, Arc::clone(&self.failures)),
        }
    }

    /// Returns a connection for discovery only. Its failures do not affect trust.
    fn one_off(&self, info: ConnectionInfo) -> Result<Arc<NodeConnection>, StoreError> {
        self.open(info, Arc::default())
    }

    fn open(
        &self,
        info: ConnectionInfo,
        failures: Arc<AtomicU64>,
    ) -> Result<Arc<NodeConnection>, StoreError> {
        let address = info.addr().to_string();
        let client = client(info, self.options.root_certificate.as_deref())
            .map_err(|error| unusable(&error))?;
        Ok(Arc::new(NodeConnection::new(
            address,
            client,
            (self.options.timeout, self.worker_slots()),
            failures,
            self.runtime.clone(),
        )))
    }
}

/// Deletes the cache epochs on servers that were replaced. Instances that have not noticed the
/// change still trust such a server, and would miss the entries written to its successor. A
/// server that is down needs no deletion, because its connections have failed.
async fn release_epochs(known: &SlotMap, found: &SlotMap, keys: &KeyNames) {
    let replaced = known
        .nodes
        .iter()
        .filter(|node| found.by_address(node.link.address()).is_none());
    let deletions = replaced.map(|node| {
        let mut command = pipe();
        for bucket in &node.buckets {
            command.cmd("DEL").arg(keys.epoch(*bucket));
        }
        let link = Arc::clone(&node.link);
        async move {
            link.query_pipeline::<Vec<i64>>(Via::OneOffUnverified, &command)
                .await
        }
    });
    join_all(deletions).await;
}

/// Parses one range of the reply to `CLUSTER SLOTS`: two slots, the master, its replicas. A
/// node that does not know its own name is at the address that was queried.
fn read_range(range: Vec<Value>, queried: &str) -> Option<Range> {
    let mut range = range.into_iter();
    let first = from_redis_value(range.next()?).ok()?;
    let last = from_redis_value(range.next()?).ok()?;
    let mut master = from_redis_value::<Vec<Value>>(range.next()?)
        .ok()?
        .into_iter();
    let host = from_redis_value::<Option<String>>(master.next()?).ok()?;
    let port = from_redis_value(master.next()?).ok()?;
    let host = host
        .filter(|host| !["", "?"].contains(&host.as_str()))
        .unwrap_or_else(|| queried.to_owned());
    Some((first, last, host, port))
}

fn unusable(error: &RedisError) -> StoreError {
    StoreError::Failed(format!("Redis settings cannot be used: {error}"))
}

fn no_server() -> StoreError {
    StoreError::Unavailable("no Redis server is reachable".to_owned())
}
