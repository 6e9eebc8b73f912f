//! A master, its replica, and a Sentinel that watches over them.

use std::process::Command;

use super::{OwnRedis, Process, eventually, free_port, redis::binary};

/// By what name the Sentinel knows the master.
const NAME: &str = "the-master";

/// Three processes.
pub struct OwnSentinel {
    pub master: OwnRedis,
    pub replica: OwnRedis,
    port: u16,
    sentinel: Process,
}

impl OwnSentinel {
    pub async fn start() -> Self {
        let quick = ["--repl-diskless-sync-delay", "0"];
        let (master, replica) = (
            OwnRedis::start_with(&quick).await,
            OwnRedis::start_with(&quick).await,
        );
        let () = replica
            .ask(&["REPLICAOF", "127.0.0.1", &master.port.to_string()])
            .await;
        eventually("the replica has all", async || {
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
        let mut question = redis::cmd("SENTINEL");
        let answer: Result<Vec<Vec<String>>, _> = question
            .arg("REPLICAS")
            .arg(NAME)
            .query_async(&mut connection)
            .await;
        let told = answer.unwrap_or_default().concat();
        let status = told
            .iter()
            .position(|word| word == "master-link-status")
            .map(|at| told[at + 1].clone());
        status.unwrap_or_default()
    }

    /// The master by its name.
    pub fn url() -> String {
        format!("redis://{NAME}")
    }

    pub fn sentinel_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The Sentinel makes the replica the master, though nothing is wrong.
    pub async fn fail_over(&self) {
        let client = redis::Client::open(self.sentinel_url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut order = redis::cmd("SENTINEL");
        let () = order
            .arg("FAILOVER")
            .arg(NAME)
            .query_async(&mut connection)
            .await
            .unwrap();
    }

    pub fn kill_sentinel(&mut self) {
        self.sentinel.end("KILL");
    }
}

impl Drop for OwnSentinel {
    fn drop(&mut self) {
        self.sentinel.end("KILL");
    }
}
