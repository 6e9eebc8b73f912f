//! Postgres, Redis in one of its topologies, and three instances of the real program. All of them
//! end on drop.

use std::{
    fs::{self, File},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use tempfile::TempDir;

use crate::{
    caches::{Caches, SetUp},
    wire::Wire,
};
use latchkey_testkit::{
    PASSWORD, Proxy,
    servers::{
        eventually,
        own::{OwnPostgres, free_port},
    },
};

pub const INSTANCES: usize = 3;

/// Connections of the instances to their servers, and settings other than the defaults.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wiring {
    pub redis: SetUp,
    /// The first instance reaches Redis through a proxy.
    pub redis_proxy_for_first: bool,
    /// All instances reach Postgres through a proxy.
    pub postgres_proxy: bool,
    /// Limit of open files of each instance.
    pub open_files: Option<u32>,
    /// Settings by name and value.
    pub settings: &'static [(&'static str, &'static str)],
    /// Files in the working directory of all instances, by name and content.
    pub files: &'static [(&'static str, &'static str)],
}

pub struct World {
    // Dropped in this order: clients before their servers.
    pub instances: Vec<Instance>,
    pub proxy: Option<Proxy>,
    pub redis: Caches,
    pub postgres: OwnPostgres,
    _folder: TempDir,
}

impl World {
    /// Starts everything, with log files named after `name`. The number of users is `users`, and
    /// their names are "user0", "user1" and so on.
    pub async fn start(name: &str, wiring: Wiring, users: usize) -> Self {
        let (postgres, redis) = (
            OwnPostgres::start_with(&["-c", "track_activities=on"]).await,
            Caches::start(wiring.redis).await,
        );
        let folder = tempfile::tempdir().unwrap();
        for (name, contents) in wiring.files {
            fs::write(folder.path().join(name), contents).unwrap();
            let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(folder.path().join(name), owner_only).unwrap();
        }
        let proxy = match wiring {
            Wiring {
                redis_proxy_for_first: true,
                ..
            } => Some(Proxy::to(redis.first().port)),
            Wiring {
                postgres_proxy: true,
                ..
            } => Some(Proxy::to(port_of(&postgres.url()))),
            _ => None,
        };
        let through = |url: String| {
            let mut url = url::Url::parse(&url).unwrap();
            url.set_port(proxy.as_ref().map(|proxy| proxy.address.port()))
                .unwrap();
            url.to_string()
        };
        let database = if wiring.postgres_proxy {
            through(postgres.url())
        } else {
            postgres.url()
        };
        let ports: Vec<_> = (0..INSTANCES).map(|_| free_port()).collect();
        let mut instances = Vec::new();
        for (number, port) in ports.iter().enumerate() {
            let proxied = wiring.redis_proxy_for_first && number == 0;
            let mut settings = vec![
                ("DATABASE_URL".to_owned(), database.clone()),
                ("LATCHKEY_BIND".to_owned(), format!("127.0.0.1:{port}")),
                // One issuer for all instances.
                (
                    "LATCHKEY_ISSUER".to_owned(),
                    format!("http://127.0.0.1:{}", ports[0]),
                ),
            ];
            settings.extend(redis.settings());
            if proxied {
                settings.push(("REDIS_URL".to_owned(), through(redis.first().url())));
            }
            settings.extend(
                wiring
                    .settings
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
            );
            let log = logs().join(format!("{name}-{number}.log"));
            let (folder, open_files) = (folder.path().to_owned(), wiring.open_files);
            let mut instance = Instance {
                folder,
                log,
                open_files,
                port: *port,
                settings,
                process: None,
            };
            let _ = fs::remove_file(&instance.log);
            // The first instance creates the tables and the keys.
            instance.start().await;
            instances.push(instance);
        }
        let world = Self {
            instances,
            proxy,
            redis,
            postgres,
            _folder: folder,
        };
        world.create_users(users).await;
        world
    }

    pub fn wire(&self) -> Wire {
        Wire::new(
            self.instances
                .iter()
                .map(|instance| format!("http://127.0.0.1:{}", instance.port))
                .collect(),
        )
    }

    /// Returns the number of log lines about entries that were not written to Redis. Repeated lines
    /// are suppressed, so it is a lower bound.
    pub fn entries_not_written(&self) -> usize {
        let logs = self
            .instances
            .iter()
            .map(|instance| fs::read_to_string(&instance.log).unwrap_or_default());
        logs.map(|log| log.matches("blacklist entry not written").count())
            .sum()
    }

    /// Creates one user with the command line and the others as its copies, because hashing is not
    /// measured here.
    async fn create_users(&self, count: usize) {
        self.instances[0].command(&["users", "create", "user0", "--password-stdin"], PASSWORD);
        let copies = format!(
            "INSERT INTO users (id, username, username_key, email, password_hash, first_name, last_name, is_active, \
             is_staff, session_epoch, created_at) SELECT gen_random_uuid()::text, 'user' || n, 'user' || n, email, \
             password_hash, first_name, last_name, is_active, is_staff, session_epoch, created_at \
             FROM users, generate_series(1, {}) AS n WHERE username = 'user0'",
            count.saturating_sub(1)
        );
        self.postgres.execute(&copies).await;
    }
}

fn port_of(url: &str) -> u16 {
    url::Url::parse(url).unwrap().port().unwrap()
}

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Uses this program for instances from now on.
pub fn use_program(path: &Path) {
    PROGRAM.set(path.canonicalize().unwrap()).unwrap();
}

fn program() -> &'static Path {
    PROGRAM.get_or_init(latchkey_testkit::program)
}

/// Returns the folder of the instances' logs, which remain after the run.
pub fn logs() -> PathBuf {
    let folder = latchkey_testkit::target().join("tmp/faults");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A process `latchkey serve`, on the same port after every restart.
pub struct Instance {
    folder: PathBuf,
    log: PathBuf,
    open_files: Option<u32>,
    pub port: u16,
    settings: Vec<(String, String)>,
    process: Option<Child>,
}

impl Instance {
    /// Starts the process and waits until it listens.
    pub async fn start(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .unwrap();
        let mut command = self.latchkey(&["serve"]);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.process = Some(command.spawn().unwrap());
        let port = self.port;
        eventually("Latchkey listens", async || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        })
        .await;
    }

    /// Ends the process with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Ends the process with SIGTERM and waits for it.
    pub async fn stop(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        assert!(
            Command::new("kill")
                .arg(process.id().to_string())
                .status()
                .unwrap()
                .success()
        );
        eventually("Latchkey stops", async || {
            process.try_wait().unwrap().is_some()
        })
        .await;
    }

    /// Returns the id of the process.
    pub fn id(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// Resident memory in KiB.
    pub fn memory(&self) -> u64 {
        let id = self.process.as_ref().unwrap().id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap_or_default();
        line.trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap_or_default()
    }

    fn command(&self, words: &[&str], input: &str) {
        use std::io::Write as _;
        let mut command = self.latchkey(words);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        assert!(child.wait().unwrap().success(), "latchkey {words:?}");
    }

    /// Returns the command `latchkey` with these words and the instance's settings, not yet
    /// started.
    pub fn latchkey(&self, words: &[&str]) -> Command {
        let program = program();
        let mut command = match self.open_files {
            None => Command::new(program),
            Some(limit) => {
                let mut shell = Command::new("sh");
                shell
                    .args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\"")])
                    .arg(program);
                shell
            }
        };
        command
            .args(words)
            .current_dir(&self.folder)
            .env_clear()
            .envs(self.settings.iter().cloned());
        command
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.kill();
    }
}
