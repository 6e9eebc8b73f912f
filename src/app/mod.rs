//! Composition root: the only module that uses concrete stores.

mod background;
mod descriptors;
pub mod doctor;
mod error;
mod first_run;
pub mod keys;
mod metrics;
pub mod operator;
mod state;
mod stores;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use latchkey_verifier::{Kind, Policy};

pub use error::StartError;
pub use first_run::{FirstPassword, FirstUser};
pub use latchkey_http::openapi::document as openapi;
use state::{Components, state};
use stores::Opener;

use crate::config::{Config, ConfigError, keys::KeysPlace};
use latchkey_crypto::{hasher::Hasher, key_ring::KeyRing};
use latchkey_domain::{audit::Actor, keys::KeyMetadata, ports::Clock};
use latchkey_files::reserve;
use latchkey_http::{
    connection::{Capacity, Connections, Limits},
    server,
    state::State,
};
use latchkey_service::{
    ActiveKeys, Metrics,
    audit::audit_trail,
    keys::{KeyManager, OpenedKeys, watch::KeyWatch},
    revocation::OperatorWatch,
};
use latchkey_store::sql::DatabaseUrl;

/// Server that is ready to run.
pub struct App {
    background: background::Background,
    embedded: bool,
    first_user: Option<FirstUser>,
    listener: TcpListener,
    metrics: Option<TcpListener>,
    state: State,
}

impl App {
    /// Prepares the server: binds the address, waits for the database and migrates it, opens the
    /// keys, and creates the first user of an embedded database.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn build(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        config.check()?;
        for finding in config
            .exposures()
            .into_iter()
            .map(|found| found.text)
            .chain(config.clear_text_warnings())
        {
            tracing::warn!(finding, "insecure configuration");
        }
        reserve::fill();
        let capacity = Capacity {
            total: descriptors::connections(config, descriptors::raise_limit())?,
            source: config
                .http
                .max_connections_per_source
                .try_into()
                .unwrap_or(usize::MAX),
            proxies: config.http.trusted_proxies.clone().unwrap_or_default(),
        };
        let listen = |error| StartError::Listen(config.http.bind, error);
        let listener = TcpListener::bind(config.http.bind).map_err(listen)?;
        let metrics = match config.http.own_metrics_address() {
            None => None,
            Some(bind) => Some(
                TcpListener::bind(bind).map_err(|error| StartError::ListenMetrics(bind, error))?,
            ),
        };
        // The system replaces port 0 with a free port.
        let mut config = config.clone();
        config.http.bind = listener.local_addr().map_err(listen)?;
        let settings = keys::KeysSettings {
            keys: &config.keys,
            database: &config.database,
            lifetimes: &config.lifetimes,
            actor: Actor::Service,
        };
        // An unusable key is an error before the database is created.
        let mut opened = OpenedKeys::default();
        if config.keys.keys == KeysPlace::Directory {
            let early = keys::manager(&settings, None, None, Arc::clone(&clock));
            early.ring().await?;
            opened = early.opened;
        }
        let opener = Opener::Server {
            threads: config.http.worker_threads(),
            timeout: config.http.startup_timeout,
        };
        let stores =
            stores::open(&config.database, &config.redis, &config.lifetimes, opener).await?;
        let manager = keys::manager(
            &settings,
            Some(&stores.sql()),
            Some(stores.audit()),
            Arc::clone(&clock),
        );
        let manager = KeyManager { opened, ..manager };
        let ring = ring(&manager, &stores).await?;
        let hasher = Hasher::start(
            config.passwords.cost(),
            config.passwords.threads(),
            config.passwords.hash_queue.into(),
        )?;
        let embedded = matches!(stores.url, DatabaseUrl::Sqlite(_));
        let first_user = if let DatabaseUrl::Sqlite(file) = &stores.url {
            let accounts = stores.accounts(Actor::Service, Arc::clone(&clock), hasher.clone());
            first_run::admin(&accounts, &file.path).await?
        } else {
            None
        };
        let janitor = stores.janitor(Arc::clone(&clock), &config.lifetimes, &config.audit);
        let counters = Metrics::default();
        let (audit, writer) = audit_trail(stores.audit(), Arc::clone(&clock), &counters);
        let (revocation, entry_writer) = stores.revocation(&config.lifetimes).with_write_behind();
        let keys = Arc::new(ActiveKeys::new(
            ring,
            policy(&config)?,
            config.tokens.verify_cache,
        )?);
        let watch = KeyWatch::new(manager, Arc::clone(&keys));
        let connections = Arc::new(Connections::new(capacity, limits(&config)));
        let operators = OperatorWatch::new(stores.audit(), Arc::clone(&clock), counters.clone());
        let background = background::Background::new(
            janitor,
            watch,
            entry_writer,
            writer,
            operators,
            Arc::clone(&connections),
        );
        let components = Components {
            keys,
            hasher,
            clock,
            connections,
            counters,
            audit,
            revocation,
        };
        let state = state(&config, stores, components)?;
        Ok(Self {
            background,
            embedded,
            first_user,
            listener,
            metrics,
            state,
        })
    }

    /// Returns the address that the server listens on.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Separate address of `/metrics`, if it has one.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
            .as_ref()
            .and_then(|listener| listener.local_addr().ok())
    }

    /// True if the database is an SQLite file.
    #[must_use]
    pub const fn is_embedded(&self) -> bool {
        self.embedded
    }

    /// First user, with the password or its file, if this start created it.
    #[must_use]
    pub const fn first_user(&self) -> Option<&FirstUser> {
        self.first_user.as_ref()
    }

    /// Serves requests until `stop` completes.
    ///
    /// Then `/health/ready` is 503, and requests are served until the shutdown delay is over or
    /// `hurry` completes. After that, no connections are accepted, and requests in progress may
    /// finish within the shutdown timeout. At last, the background tasks stop. A use case that
    /// outlives the timeout ends with the process: each of its writes is atomic, and its client has
    /// no response.
    ///
    /// # Errors
    /// If the server cannot be started, or its socket fails.
    pub async fn run(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
        hurry: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let metrics = match self.metrics {
            None => None,
            Some(listener) => {
                let server = server::serve_metrics(listener, Arc::clone(&self.state.registry))?;
                let handle = server.handle();
                tokio::spawn(server);
                Some(handle)
            }
        };
        let (stopping, delay) = (
            self.state.stopping.clone(),
            self.state.settings.shutdown_delay,
        );
        let server = server::serve(self.listener, self.state)?;
        let handle = server.handle();
        let background = self.background.start();
        let stopper = tokio::spawn(async move {
            stop.await;
            stopping.begin();
            // A second signal ends the delay.
            if !delay.is_zero() {
                let _ = tokio::time::timeout(delay, hurry).await;
            }
            handle.stop(true).await;
        });
        let served = server.await;
        stopper.abort();
        if let Some(metrics) = metrics {
            metrics.stop(false).await;
        }
        background.stop().await;
        served
    }
}

/// Creates missing keys, and returns the key ring. A failure stops the start only if there is no
/// other key of a kind.
async fn ring(manager: &KeyManager, stores: &stores::Stores) -> Result<KeyRing, StartError> {
    let failed = match manager.ensure().await {
        Ok(created) => {
            for KeyMetadata {
                kid,
                kind,
                signs_from,
                ..
            } in &created
            {
                tracing::info!(kid, token = kind.token_type(), %signs_from, "key created");
            }
            if created.len() > 1 && !stores.sessions().page(None, 1).await?.sessions.is_empty() {
                tracing::warn!(
                    "there were no keys, but there are sessions: all their tokens are refused. Was the directory mounted?"
                );
            }
            None
        }
        Err(error) => Some(error),
    };
    let ring = manager.ring().await?;
    match failed {
        Some(error)
            if [Kind::Access, Kind::Refresh]
                .iter()
                .any(|kind| ring.newest(*kind).is_none()) =>
        {
            return Err(error.into());
        }
        Some(error) => tracing::warn!(%error, "no key created: the existing keys remain in use"),
        None => {}
    }
    // The lifetimes protect keys from removal. In a read-only directory, keys cannot be removed
    // either.
    if let Err(error) = manager.record_lifetimes().await {
        tracing::warn!(%error, "token lifetimes not recorded");
    }
    Ok(ring)
}

fn limits(config: &Config) -> Limits {
    Limits {
        head: config.http.header_timeout,
        body: config.http.body_timeout,
        keep_alive: server::KEEP_ALIVE,
    }
}

fn policy(config: &Config) -> Result<Policy, ConfigError> {
    let tokens = &config.tokens;
    Ok(Policy {
        access_typ: tokens.access_token_typ.clone(),
        audience: tokens.audience.clone(),
        issuer: config.issuer()?,
        leeway: u32::try_from(tokens.leeway.as_secs()).unwrap_or_default(),
        names: tokens.claim_names(),
    })
}
