//! Servers that a test may stop, hang and empty. Each has a free port and its own folder, and is
//! ended by process id.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod postgres;

use std::{
    net::TcpListener,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

mod cluster;
mod pooler;
mod redis;
mod sentinel;
mod tls;

pub use self::{
    cluster::OwnCluster, pooler::OwnPooler, redis::OwnRedis, sentinel::OwnSentinel, tls::Authority,
};

use tempfile::TempDir;

use super::{eventually, postgres_template};

/// Returns a port that was free at the time of the call.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A process that its owner ends on drop.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        Self(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    fn signal(&self, name: &str) {
        assert!(
            Command::new("kill")
                .arg(format!("-{name}"))
                .arg(self.0.id().to_string())
                .status()
                .unwrap()
                .success()
        );
    }

    fn end(&mut self, signal: &str) {
        if let Ok(None) = self.0.try_wait() {
            self.signal(signal);
            // A stopped process handles no other signal before it continues.
            self.signal("CONT");
            self.0.wait().unwrap();
        }
    }
}

/// A Postgres server.
pub struct OwnPostgres {
    folder: TempDir,
    flags: Vec<String>,
    /// Port of the server.
    pub port: u16,
    process: Option<Process>,
}

impl OwnPostgres {
    /// Starts a new server with these flags.
    pub async fn start_with(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut postgres = Self {
            folder,
            flags,
            port: free_port(),
            process: None,
        };
        postgres.initialize();
        postgres.again().await;
        postgres
    }

    fn initialize(&self) {
        if is_root() {
            std::os::unix::fs::chown(self.folder.path(), Some(test_user()), Some(test_user()))
                .unwrap();
        }
        let mut command = Command::new("cp");
        command.arg("-a").arg(postgres_template()).arg(self.data());
        assert!(command.output().unwrap().status.success());
    }

    /// Starts the server, also again after a stop, on its existing data.
    pub async fn again(&mut self) {
        let mut command = as_test_user(&binaries().join("postgres"));
        command.arg("-D").arg(self.data()).args([
            "-p",
            &self.port.to_string(),
            "-h",
            "127.0.0.1",
            "-k",
            "",
        ]);
        command
            .args(["-c", "fsync=off", "-c", "shared_buffers=16MB"])
            .args(&self.flags);
        self.process = Some(Process::start(&mut command));
        let url = self.url();
        eventually("Postgres answers", async || {
            tokio_postgres::connect(&url, tokio_postgres::NoTls)
                .await
                .is_ok()
        })
        .await;
    }

    /// Returns the URL of the database `postgres`.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Stops the server with `SIGQUIT`: an immediate shutdown.
    pub fn stop(&mut self) {
        if self.process.is_some() {
            self.go_on();
        }
        self.stop_by("QUIT");
    }

    /// Stops the server with a signal. `INT` is a fast shutdown: it rolls transactions back and
    /// disconnects clients.
    pub fn stop_by(&mut self, signal: &str) {
        if let Some(mut process) = self.process.take() {
            process.end(signal);
        }
    }

    /// Suspends the server. The kernel still accepts connections, but no connection gets a
    /// response.
    pub fn hang(&self) {
        self.signal_all("STOP");
    }

    /// Resumes the server after [`Self::hang`].
    pub fn go_on(&self) {
        self.signal_all("CONT");
    }

    /// Signals the server and its children, one per connection.
    fn signal_all(&self, name: &str) {
        let process = self.process.as_ref().unwrap();
        let id = process.0.id();
        process.signal(name);
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        for child in children.split_whitespace() {
            // A child may have ended meanwhile.
            let _ = Command::new("kill")
                .arg(format!("-{name}"))
                .arg(child)
                .stderr(Stdio::null())
                .status();
        }
    }

    /// Returns the path of the log, which exists if the flags enable the log collector.
    pub fn log(&self) -> PathBuf {
        self.data().join("log/log")
    }

    /// Connects to the database `postgres`.
    pub async fn client(&self) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(&self.url(), tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client
    }

    /// Runs statements.
    pub async fn execute(&self, statement: &str) {
        self.client().await.batch_execute(statement).await.unwrap();
    }

    /// Returns the two numbers that a query yields.
    pub async fn two_numbers(&self, query: &str) -> (i64, i64) {
        let row = self.client().await.query_one(query, &[]).await.unwrap();
        (row.get(0), row.get(1))
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        self.stop();
    }
}

fn in_path(name: &str) -> Option<PathBuf> {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {name}")])
        .output()
        .unwrap();
    let path = String::from_utf8(found.stdout).unwrap();
    (!path.trim().is_empty()).then(|| PathBuf::from(path.trim()))
}

/// Returns the folder of the Postgres programs: that of `postgres` in the path, or Debian's.
fn binaries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let debian = std::fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten();
        let binary = in_path("postgres")
            .or_else(|| {
                debian
                    .map(|version| version.unwrap().path().join("bin/postgres"))
                    .find(|path| path.exists())
            })
            .expect("Postgres is not installed: run scripts/test");
        binary.canonicalize().unwrap().parent().unwrap().to_owned()
    })
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// Returns the id of the user that `scripts/services` creates, because Postgres refuses to run as
/// root.
fn test_user() -> u32 {
    let output = Command::new("id")
        .args(["-u", "latchkey-test"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

fn as_test_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=latchkey-test",
            "--regid=latchkey-test",
            "--clear-groups",
            "--",
        ])
        .arg(program);
    command
}
