//! Rarely used methods of a Postgres server: replicas, files, settings and a fast shutdown.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt as _;

use super::{OwnPostgres, as_test_user, binaries, eventually, free_port, is_root, test_user};

impl OwnPostgres {
    /// Starts a streaming replica, which answers reads from the data received so far.
    pub async fn replica(&self, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut replica = Self {
            folder: tempfile::tempdir().unwrap(),
            flags,
            port: free_port(),
            process: None,
        };
        if is_root() {
            std::os::unix::fs::chown(replica.folder.path(), Some(test_user()), Some(test_user()))
                .unwrap();
        }
        let mut command = as_test_user(&binaries().join("pg_basebackup"));
        command.args([
            "-R",
            "--no-sync",
            "-X",
            "stream",
            "-c",
            "fast",
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-p",
        ]);
        command
            .arg(self.port.to_string())
            .arg("-D")
            .arg(replica.data());
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        replica.again().await;
        replica
    }

    /// Promotes the replica: it accepts writes and no longer replicates.
    pub async fn promote(&self) {
        self.execute("SELECT pg_promote()").await;
    }

    /// Stops the server with `SIGINT`: disconnects clients, writes a checkpoint, and ends.
    pub fn stop_gently(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.end("INT");
        }
    }

    /// Writes a file with mode 0600 into the data directory.
    pub fn put(&self, name: &str, text: &str) {
        let path = self.data().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        if is_root() {
            std::os::unix::fs::chown(&path, Some(test_user()), Some(test_user())).unwrap();
        }
    }

    /// Changes a setting at run time, and waits until it is in force.
    pub async fn set(&self, name: &str, value: &str) {
        self.execute(&format!("ALTER SYSTEM SET {name} = '{value}'"))
            .await;
        self.execute("SELECT pg_reload_conf()").await;
        eventually("the setting is in force", async || {
            self.client()
                .await
                .query_one(&format!("SHOW {name}"), &[])
                .await
                .unwrap()
                .get::<_, String>(0)
                == value
        })
        .await;
    }

    /// Returns the number that a query yields.
    pub async fn number(&self, query: &str) -> i64 {
        self.client()
            .await
            .query_one(query, &[])
            .await
            .unwrap()
            .get(0)
    }
}
