//! A Redis Cluster of three masters, each with a replica.

use super::{OwnRedis, eventually, free_port};

const SLOTS: [(&str, &str); 3] = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];

/// Six processes. The first three start as masters. The other three are their replicas, in this
/// order.
pub struct OwnCluster {
    /// Three masters, and then a replica of each.
    pub nodes: Vec<OwnRedis>,
}

impl OwnCluster {
    /// Starts a cluster and waits until it serves all slots.
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..6 {
            nodes.push(Node::start().await);
        }
        for (number, node) in nodes.iter().enumerate() {
            let () = node
                .redis
                .ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()])
                .await;
        }
        for (node, (first, last)) in nodes.iter().zip(SLOTS) {
            let () = node
                .redis
                .ask(&["CLUSTER", "ADDSLOTSRANGE", first, last])
                .await;
        }
        for other in &nodes[1..] {
            let (port, bus) = (other.redis.port.to_string(), other.bus.to_string());
            let () = nodes[0]
                .redis
                .ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])
                .await;
        }
        let cluster = Self {
            nodes: nodes.into_iter().map(|node| node.redis).collect(),
        };
        for node in &cluster.nodes {
            eventually("all nodes have met", async || {
                let info: String = node.ask(&["CLUSTER", "INFO"]).await;
                info.contains("cluster_known_nodes:6") && info.contains("cluster_size:3")
            })
            .await;
        }
        for number in 0..3 {
            let id: String = cluster.nodes[number].ask(&["CLUSTER", "MYID"]).await;
            let () = cluster.nodes[number + 3]
                .ask(&["CLUSTER", "REPLICATE", &id])
                .await;
        }
        cluster.eventually_complete().await;
        cluster
    }

    /// Waits until every node reports all masters with their replicas.
    pub async fn eventually_complete(&self) {
        for node in &self.nodes {
            eventually("the cluster is complete", async || {
                let info: String = node.ask(&["CLUSTER", "INFO"]).await;
                let linked = node.info("master_link_status").await != "down";
                let slots: Vec<Vec<redis::Value>> = node.ask(&["CLUSTER", "SLOTS"]).await;
                info.contains("cluster_state:ok")
                    && linked
                    && slots.iter().all(|range| range.len() == 4)
            })
            .await;
        }
    }

    /// Returns the addresses of two nodes. Clients discover the others.
    pub fn url(&self) -> String {
        format!("{},{}", self.nodes[0].url(), self.nodes[1].url())
    }
}

struct Node {
    redis: OwnRedis,
    bus: u16,
}

impl Node {
    async fn start() -> Self {
        let bus = free_port();
        let redis = OwnRedis::start_with(&[
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &bus.to_string(),
            "--cluster-node-timeout",
            "1000",
            "--cluster-replica-validity-factor",
            "0",
            "--repl-diskless-sync-delay",
            "0",
        ])
        .await;
        Self { redis, bus }
    }
}
