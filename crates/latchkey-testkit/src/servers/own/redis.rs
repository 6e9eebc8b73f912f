//! A Redis server.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::{Process, eventually, free_port, in_path};

/// A Redis server.
pub struct OwnRedis {
    pub(super) folder: TempDir,
    flags: Vec<String>,
    has_own_clock: bool,
    /// Port of the server.
    pub port: u16,
    process: Option<Process>,
}

/// Returns the library that gives a process its own clock, at its path in Debian.
fn faketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path());
    let libraries = folders.map(|folder| folder.join("faketime/libfaketime.so.1"));
    libraries
        .into_iter()
        .find(|library| library.exists())
        .expect("faketime is not installed: run scripts/test")
}

pub(super) fn binary() -> PathBuf {
    ["redis-server", "valkey-server"]
        .into_iter()
        .find_map(in_path)
        .unwrap()
}

impl OwnRedis {
    /// Starts a server with the default flags.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server with these flags.
    pub async fn start_with(flags: &[&str]) -> Self {
        let mut redis = Self::new(flags);
        redis.again().await;
        redis
    }

    /// Starts a server whose clock can be set independently of the machine's: [`OwnRedis::jump`].
    pub async fn with_own_clock() -> Self {
        let mut redis = Self::new(&[]);
        redis.has_own_clock = true;
        redis.jump(0);
        redis.again().await;
        redis
    }

    pub(super) fn new(flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self {
            folder: tempfile::tempdir().unwrap(),
            flags,
            has_own_clock: false,
            port: free_port(),
            process: None,
        }
    }

    /// Sets its own clock to this many seconds ahead of the machine's. The server must have its own
    /// clock.
    pub fn jump(&self, seconds: i64) {
        let (new, file) = (self.folder.path().join("clock.new"), self.clock_file());
        std::fs::write(&new, format!("{seconds:+}\n")).unwrap();
        // Atomic, so that the server never reads a partial file.
        std::fs::rename(new, file).unwrap();
    }

    fn clock_file(&self) -> PathBuf {
        self.folder.path().join("clock")
    }

    /// Starts the server, also again after a kill, with its last snapshot.
    pub async fn again(&mut self) {
        let mut command = Command::new(binary());
        command.args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--port",
            &self.port.to_string(),
        ]);
        command
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.flags);
        if self.has_own_clock {
            // The allocator of the C library replaces jemalloc, which reads the time before
            // faketime is ready.
            command.env("LD_PRELOAD", format!("{}:libc.so.6", faketime().display()));
            command.env("FAKETIME_TIMESTAMP_FILE", self.clock_file());
            command
                .env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        self.process = Some(Process::start(&mut command));
        eventually("Redis answers", async || {
            self.try_ask(&["PING"]).await.is_some()
        })
        .await;
    }

    /// Returns the URL of the server.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Returns the working directory of the server.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends the server with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.end("KILL");
        }
    }

    /// Suspends the server. The kernel still accepts connections, but no command gets a response.
    pub fn hang(&self) {
        self.process.as_ref().unwrap().signal("STOP");
    }

    /// Resumes the server after a hang.
    pub fn go_on(&self) {
        self.process.as_ref().unwrap().signal("CONT");
    }

    /// Disconnects the replicas, which keep their data and receive no more writes.
    pub async fn cut_replicas_off(&self) {
        let () = self
            .ask(&["ACL", "SETUSER", "default", "-psync", "-sync", "-replconf"])
            .await;
        let _: i64 = self.ask(&["CLIENT", "KILL", "TYPE", "replica"]).await;
    }

    /// Returns a field of `INFO`, or "" if there is none.
    pub async fn info(&self, name: &str) -> String {
        let info: String = self
            .try_ask(&["INFO"])
            .await
            .and_then(|info| redis::from_redis_value(info).ok())
            .unwrap_or_default();
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    }

    /// Sends a command on a new connection.
    pub async fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        redis::from_redis_value(self.try_ask(command).await.unwrap()).unwrap()
    }

    /// Sends a command. Returns `None` if the server does not answer.
    pub async fn try_ask(&self, command: &[&str]) -> Option<redis::Value> {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        let mut cmd = redis::cmd(command[0]);
        cmd.arg(&command[1..]);
        cmd.query_async(&mut connection).await.ok()
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        self.kill();
    }
}
