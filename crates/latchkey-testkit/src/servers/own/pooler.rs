//! PgBouncer in front of Postgres.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use tempfile::TempDir;

use super::{
    OwnPostgres, Process, as_test_user, eventually, free_port, in_path, is_root, test_user,
};

/// A PgBouncer process.
pub struct OwnPooler {
    _folder: TempDir,
    /// Port of the pooler.
    pub port: u16,
    process: Process,
}

impl OwnPooler {
    /// Starts PgBouncer with its defaults and these lines of configuration.
    pub async fn start(postgres: &OwnPostgres, lines: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let file = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\n{lines}\n",
            postgres.port
        );
        std::fs::write(&file, text).unwrap();
        if is_root() {
            std::os::unix::fs::chown(folder.path(), Some(test_user()), Some(test_user())).unwrap();
        }
        let program = in_path("pgbouncer").unwrap_or_else(|| PathBuf::from("/usr/sbin/pgbouncer"));
        let process = Process::start(as_test_user(&program).arg(&file));
        let pooler = Self {
            _folder: folder,
            port,
            process,
        };
        let url = pooler.url();
        eventually("PgBouncer answers", async || {
            tokio_postgres::connect(&url, tokio_postgres::NoTls)
                .await
                .is_ok()
        })
        .await;
        pooler
    }

    /// Returns the URL of the database through the pooler.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for OwnPooler {
    fn drop(&mut self) {
        self.process.end("INT");
    }
}
