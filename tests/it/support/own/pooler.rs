//! A PgBouncer in front of a Postgres.

#![expect(clippy::unwrap_used, reason = "a test fails where it is surprised")]

use std::path::PathBuf;

use tempfile::TempDir;

use super::{OwnPostgres, Process, as_servant, eventually, free_port, in_path, is_root, servant};

/// A PgBouncer.
pub struct OwnPooler {
    _folder: TempDir,
    pub port: u16,
    process: Process,
}

impl OwnPooler {
    /// Starts it with its defaults, except for these lines.
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
            std::os::unix::fs::chown(folder.path(), Some(servant()), Some(servant())).unwrap();
        }
        let program = in_path("pgbouncer").unwrap_or_else(|| PathBuf::from("/usr/sbin/pgbouncer"));
        let process = Process::start(as_servant(&program).arg(&file));
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

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for OwnPooler {
    fn drop(&mut self) {
        self.process.end("INT");
    }
}
