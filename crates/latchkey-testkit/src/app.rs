//! A real server on a free port, with a method for each endpoint.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    ops::Deref,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use clap::{Args as _, Command, FromArgMatches as _};
use latchkey::{
    app::{
        App,
        keys::{self, KeysSettings},
        operator,
    },
    config::{Config, DatabaseConfig, RedisConfig},
};
use latchkey_domain::{
    audit::Actor,
    password::Password,
    ports::Clock,
    username::{NewUsername, Username},
};
use latchkey_service::{
    keys::KeyManager,
    users::{Registration, UserAdmin},
};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::{Backend, Forge, Http, ManualClock, PASSWORD, Pair, servers};

/// A server for one test, with its own database, keys and Redis key prefix.
pub struct TestApp {
    /// Address that the server listens on.
    pub address: SocketAddr,
    /// Stores of the server.
    pub backend: Backend,
    /// The server's clock.
    pub clock: Arc<ManualClock>,
    /// The server's configuration.
    pub config: Config,
    http: Http,
    folder: Arc<TempDir>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TestApp {
    /// Starts a server with the default settings.
    pub async fn start(backend: Backend) -> Self {
        Self::start_with(backend, &[]).await
    }

    /// Starts a server with these flags of `latchkey serve`.
    pub async fn start_with(backend: Backend, flags: &[&str]) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let mut all = vec![format!("--data-dir={}/data", folder.path().display())];
        all.push(format!("--keys-dir={}/keys", folder.path().display()));
        if backend == Backend::PostgresAndRedis {
            all.push(format!(
                "--database-url={}",
                servers::fresh_database().await
            ));
            all.push(format!("--redis-url={}", servers::redis_url()));
            all.push(format!("--redis-prefix={}", servers::unique("test")));
        }
        if !flags.iter().any(|flag| flag.starts_with("--metrics-bind")) {
            all.push("--metrics-bind=main".to_owned());
        }
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        Self::run(
            backend,
            config(&all),
            folder,
            Arc::new(ManualClock::default()),
        )
        .await
    }

    /// Starts another instance with the same stores, keys and clock.
    pub async fn twin(&self) -> Self {
        Self::run(
            self.backend,
            self.config.clone(),
            Arc::clone(&self.folder),
            Arc::clone(&self.clock),
        )
        .await
    }

    /// Starts another instance with the same stores and changed settings.
    pub async fn twin_with(&self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.config.clone();
        change(&mut config);
        Self::run(
            self.backend,
            config,
            Arc::clone(&self.folder),
            Arc::clone(&self.clock),
        )
        .await
    }

    /// Starts another instance with the same stores and a clock that is this far ahead.
    pub async fn twin_ahead(&self, milliseconds: i64) -> Self {
        let clock = Arc::new(self.clock.ahead(milliseconds));
        Self::run(
            self.backend,
            self.config.clone(),
            Arc::clone(&self.folder),
            clock,
        )
        .await
    }

    async fn run(
        backend: Backend,
        mut config: Config,
        folder: Arc<TempDir>,
        clock: Arc<ManualClock>,
    ) -> Self {
        config.http.bind = "127.0.0.1:0".parse().unwrap();
        config
            .tokens
            .issuer
            .get_or_insert_with(|| "https://auth.test".to_owned());
        let (ready, started) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let (for_thread, clock_for_thread) = (config.clone(), Arc::clone(&clock));
        // Its own thread and runtime, as in a process.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let app = App::build(&for_thread, clock_for_thread).await.unwrap();
                ready.send(app.address().unwrap()).unwrap();
                let stop = async move {
                    let _ = stopped.await;
                };
                app.run(stop, std::future::pending()).await.unwrap();
            });
        });
        let address =
            tokio::task::spawn_blocking(move || started.recv().expect("the server did not start"))
                .await
                .unwrap();
        Self {
            address,
            backend,
            clock,
            config,
            http: Http::new(format!("http://{address}")),
            folder,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Creates a client at this address with the `User-Agent` `agent`; `None` sends no header.
    pub fn sender(&self, address: &str, agent: Option<&str>) -> Http {
        Http::from(self.http.base.clone(), address, agent)
    }

    /// Advances the test clock.
    pub fn advance(&self, seconds: i64) {
        self.clock.advance_ms(seconds * 1000);
    }

    /// Returns the time of the test clock, in whole seconds.
    pub fn now(&self) -> i64 {
        self.clock.now().timestamp()
    }

    /// Returns a forge with this server's keys.
    pub fn forge(&self) -> Forge {
        Forge::new(
            &self.config.keys.keys_dir,
            self.config.tokens.issuer.as_deref().unwrap(),
            self.now(),
        )
    }

    /// Returns an operator's commands on users, with the same stores and clock.
    pub async fn accounts(&self) -> UserAdmin {
        self.accounts_of(&self.config.redis, Arc::clone(&self.clock) as _)
            .await
    }

    /// Returns an operator's commands on a machine without Redis, whose clock is this far ahead.
    pub async fn accounts_elsewhere(&self, ahead_ms: i64) -> UserAdmin {
        let redis = RedisConfig {
            redis_url: None,
            redis_sentinels: None,
            ..self.config.redis.clone()
        };
        self.accounts_of(&redis, Arc::new(self.clock.ahead(ahead_ms)))
            .await
    }

    async fn accounts_of(&self, redis: &RedisConfig, clock: Arc<dyn Clock>) -> UserAdmin {
        let database = self.operator_database();
        let config = operator::OperatorConfig {
            database: &database,
            redis,
            lifetimes: &self.config.lifetimes,
            audit: &self.config.audit,
            actor: Actor::Operator(Some("test".to_owned())),
        };
        operator::accounts(config, &self.config.passwords, clock)
            .await
            .unwrap()
    }

    /// Returns the database's configuration with the default timeout. A short one is for the server
    /// under test only.
    fn operator_database(&self) -> DatabaseConfig {
        DatabaseConfig {
            database_timeout: Duration::from_secs(5),
            ..self.config.database.clone()
        }
    }

    /// Returns an operator's commands on keys, with the same store and clock.
    pub async fn keys(&self) -> KeyManager {
        let database = self.operator_database();
        let settings = KeysSettings {
            keys: &self.config.keys,
            database: &database,
            lifetimes: &self.config.lifetimes,
            actor: Actor::Operator(Some("test".to_owned())),
        };
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        keys::writer(&settings, clock).await.unwrap()
    }

    /// Creates a user who signs in with [`PASSWORD`].
    pub async fn user(&self, name: &str) {
        let registration = Registration {
            username: new_username(name),
            password: Password::parse_new(PASSWORD.to_owned()).unwrap(),
            email: None,
            is_staff: false,
        };
        self.accounts().await.create(registration).await.unwrap();
    }

    /// Creates a user and signs in.
    pub async fn signed_in(&self, name: &str) -> Pair {
        self.user(name).await;
        self.pair_of(name).await
    }

    /// Sends raw bytes. Returns everything received until the server closes or sends nothing for
    /// ten seconds.
    pub fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Stops the server and waits for it.
    pub fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Deref for TestApp {
    type Target = Http;

    fn deref(&self) -> &Http {
        &self.http
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Returns a parsed username.
pub fn username(text: &str) -> Username {
    Username::parse(text).unwrap()
}

/// Returns a name that a new account may have.
pub fn new_username(text: &str) -> NewUsername {
    Username::parse_new(text).unwrap()
}

fn config(flags: &[String]) -> Config {
    let command = Config::augment_args(Command::new("test").no_binary_name(true));
    Config::from_arg_matches(&command.try_get_matches_from(flags).unwrap()).unwrap()
}
