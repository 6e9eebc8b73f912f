//! Topologies of Redis: one server, a master with a replica and a Sentinel, or a cluster.

use latchkey_testkit::servers::own::{OwnCluster, OwnRedis, OwnSentinel};

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SetUp {
    #[default]
    One,
    Sentinel,
    Cluster,
}

pub enum Caches {
    One(OwnRedis),
    Sentinel(OwnSentinel),
    Cluster(OwnCluster),
}

impl Caches {
    pub async fn start(set_up: SetUp) -> Self {
        match set_up {
            SetUp::One => Self::One(OwnRedis::start().await),
            SetUp::Sentinel => Self::Sentinel(OwnSentinel::start().await),
            SetUp::Cluster => Self::Cluster(OwnCluster::start().await),
        }
    }

    /// Returns the settings with which an instance connects to this topology.
    pub fn settings(&self) -> Vec<(String, String)> {
        let (url, sentinels) = match self {
            Self::One(redis) => (redis.url(), None),
            Self::Sentinel(sentinel) => (OwnSentinel::url(), Some(sentinel.sentinel_url())),
            Self::Cluster(cluster) => (cluster.url(), None),
        };
        let sentinels = sentinels.map(|url| ("LATCHKEY_REDIS_SENTINELS".to_owned(), url));
        [("REDIS_URL".to_owned(), url)]
            .into_iter()
            .chain(sentinels)
            .collect()
    }

    /// Returns the only server, or the first master.
    pub fn first(&self) -> &OwnRedis {
        match self {
            Self::One(redis) => redis,
            Self::Sentinel(sentinel) => &sentinel.master,
            Self::Cluster(cluster) => &cluster.nodes[0],
        }
    }

    pub fn first_mut(&mut self) -> &mut OwnRedis {
        match self {
            Self::One(redis) => redis,
            Self::Sentinel(sentinel) => &mut sentinel.master,
            Self::Cluster(cluster) => &mut cluster.nodes[0],
        }
    }

    /// Returns the replica of [`Caches::first`], which a fail-over promotes.
    pub fn replica_of_first(&self) -> &OwnRedis {
        match self {
            Self::One(_) => panic!("one server has no replica"),
            Self::Sentinel(sentinel) => &sentinel.replica,
            Self::Cluster(cluster) => &cluster.nodes[3],
        }
    }

    pub fn masters(&self) -> &[OwnRedis] {
        match self {
            Self::One(redis) => std::slice::from_ref(redis),
            Self::Sentinel(sentinel) => std::slice::from_ref(&sentinel.master),
            Self::Cluster(cluster) => &cluster.nodes[..3],
        }
    }

    /// Returns all nodes of a cluster.
    pub fn nodes_mut(&mut self) -> &mut [OwnRedis] {
        match self {
            Self::Cluster(cluster) => &mut cluster.nodes,
            _ => panic!("not a cluster"),
        }
    }

    /// Starts a planned fail-over of [`Caches::first`].
    pub async fn move_master(&self) {
        match self {
            Self::Sentinel(sentinel) => sentinel.fail_over().await,
            Self::Cluster(cluster) => cluster.nodes[3].ask(&["CLUSTER", "FAILOVER"]).await,
            Self::One(_) => panic!("one server has no replica"),
        }
    }
}
