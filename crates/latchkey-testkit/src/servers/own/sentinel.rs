//! A master, its replica, and a Sentinel that monitors them.

use std::process::Command;

use super::{OwnRedis, Process, eventually, free_port, redis::binary};

/// Name of the master in the Sentinel's configuration.
const NAME: &str = "the-master";

/// Three processes: master, replica and Sentinel.
pub struct OwnSentinel {
    /// First master.
    pub master: OwnRedis,
    /// Replica of the first master.
    pub replica: OwnRedis,
    port: u16,
    sentinel: Process,
}

impl OwnSentinel {
    /// Starts a master, a replica and a Sentinel.
    pub async fn start() -> Self {
        let quick = ["--repl-diskless-sync-delay", "0"];
        let (master, replica) = (
            OwnRedis::start_with(&quick).await,
            OwnRedis::start_with(&quick).await,
        );
        let () = replica
            .ask(&["REPLICAOF", "127.0.0.1", &master.port.to_string()])
            .await;
        eventually("the replica is in sync", async || {
            replica.info("master_link_status").await == "up"
        })
        .await;

        let (port, file) = (free_port(), master.folder().join("sentinel.conf"));
        let watch = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor {NAME} 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds {NAME} 1000\nsentinel failover-timeout {NAME} 3000\n",
            master.port
        );
        std::fs::write(&file, watch).unwrap();
        let sentinel = Process::start(Command::new(binary()).arg(&file).arg("--sentinel"));
        let own = Self {
            master,
            replica,
            port,
            sentinel,
        };
        eventually("the Sentinel knows the replica", async || {
            own.replicas().await.contains("ok")
        })
        .await;
        own
    }

    async fn replicas(&self) -> String {
        let client = redis::Client::open(self.sentinel_url()).unwrap();
        let Ok(mut connection) = client.get_multiplexed_async_connection().await else {
            return String::new();
        };
        let mut command = redis::cmd("SENTINEL");
        let answer: Result<Vec<Vec<String>>, _> = command
            .arg("REPLICAS")
            .arg(NAME)
            .query_async(&mut connection)
            .await;
        let fields = answer.unwrap_or_default().concat();
        let status = fields
            .iter()
            .position(|word| word == "master-link-status")
            .map(|at| fields[at + 1].clone());
        status.unwrap_or_default()
    }

    /// Returns the URL with the master's name in place of a host.
    pub fn url() -> String {
        format!("redis://{NAME}")
    }

    /// Returns the URL of the Sentinel.
    pub fn sentinel_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts a fail-over by command, without a fault.
    pub async fn fail_over(&self) {
        let client = redis::Client::open(self.sentinel_url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::cmd("SENTINEL");
        let () = command
            .arg("FAILOVER")
            .arg(NAME)
            .query_async(&mut connection)
            .await
            .unwrap();
    }

    /// Ends the Sentinel with SIGKILL.
    pub fn kill_sentinel(&mut self) {
        self.sentinel.end("KILL");
    }
}

impl Drop for OwnSentinel {
    fn drop(&mut self) {
        self.sentinel.end("KILL");
    }
}
