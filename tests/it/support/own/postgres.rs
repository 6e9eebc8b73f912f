//! What few tests want of a Postgres: a replica, certificates, a gentler end.

#![expect(clippy::unwrap_used, reason = "a test fails where it is surprised")]

use std::os::unix::fs::PermissionsExt as _;

use super::{OwnPostgres, as_servant, binaries, eventually, free_port, is_root, servant};

impl OwnPostgres {
    /// A streaming replica, which answers what it has heard of.
    pub async fn replica(&self, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut replica = Self {
            folder: tempfile::tempdir().unwrap(),
            flags,
            port: free_port(),
            process: None,
        };
        if is_root() {
            std::os::unix::fs::chown(replica.folder.path(), Some(servant()), Some(servant()))
                .unwrap();
        }
        let mut command = as_servant(&binaries().join("pg_basebackup"));
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

    /// From here on it takes writes and follows nobody.
    pub async fn promote(&self) {
        self.execute("SELECT pg_promote()").await;
    }

    /// Ends its clients, writes down what it has, and ends.
    pub fn stop_gently(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.end("INT");
        }
    }

    /// Writes a file into its folder that nobody else may read.
    pub fn put(&self, name: &str, text: &str) {
        let path = self.data().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        if is_root() {
            std::os::unix::fs::chown(&path, Some(servant()), Some(servant())).unwrap();
        }
    }

    /// Sets what can be set while it runs, and waits until it holds.
    pub async fn set(&self, name: &str, value: &str) {
        self.execute(&format!("ALTER SYSTEM SET {name} = '{value}'"))
            .await;
        self.execute("SELECT pg_reload_conf()").await;
        eventually("the setting holds", async || {
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

    /// A number that a query finds.
    pub async fn number(&self, query: &str) -> i64 {
        self.client()
            .await
            .query_one(query, &[])
            .await
            .unwrap()
            .get(0)
    }
}
