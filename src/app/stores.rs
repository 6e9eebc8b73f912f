//! Opens the stores, waits for the database, and migrates it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::StartError;
use crate::config::{AuditConfig, DatabaseConfig, LifetimesConfig, RedisConfig};
use latchkey_cache::RedisBlacklist;
use latchkey_crypto::{hasher::Hasher, random};
use latchkey_domain::{
    audit::Actor,
    ids::DeploymentId,
    ports::{AuditStore, Blacklist, Clock, RotationStore, SessionStore, StoreError, UserStore},
};
use latchkey_service::{
    Revocation,
    audit::trail::Trail,
    revocation::{EntryLifetimes, janitor::Maintenance},
    users::UserAdmin,
};
use latchkey_store::sql::{
    ConnectError, DatabaseUrl, SqlPool, SqlStore,
    migrate::{self, MigrateError},
    rotation::coalescing::CoalescingStore,
};

/// Interval between two attempts to reach the database.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Program that opens a database.
#[derive(Clone, Copy, Debug)]
pub(super) enum Opener {
    /// Server, which creates the database and waits for it.
    Server {
        /// Number of workers.
        threads: usize,
        /// Maximum time to wait.
        timeout: Duration,
    },
    /// Command, which does neither.
    Command,
}

/// Opened stores.
pub(super) struct Stores {
    blacklist: Option<RedisBlacklist>,
    coalesces: bool,
    rotations: Arc<dyn RotationStore>,
    sql: Arc<SqlStore>,
    pub(super) url: DatabaseUrl,
    lifetimes: LifetimesConfig,
}

/// Opens the database and migrates it.
pub(super) async fn open_sql(
    database: &DatabaseConfig,
    opener: Opener,
) -> Result<(Arc<SqlStore>, DatabaseUrl), StartError> {
    let (url, limits) = match opener {
        Opener::Server { threads, .. } => (database.url()?, database.limits_for(threads)),
        Opener::Command => (database.existing()?, database.limits()),
    };
    for name in migrated(&url, database.database_timeout, opener).await? {
        tracing::info!(database = %url, migration = name, "migrated");
    }
    Ok((Arc::new(SqlStore::new(SqlPool::open(&url, limits)?)), url))
}

/// Opens both stores, and migrates the database.
pub(super) async fn open(
    database: &DatabaseConfig,
    redis: &RedisConfig,
    lifetimes: &LifetimesConfig,
    opener: Opener,
) -> Result<Stores, StartError> {
    let (sql, url) = open_sql(database, opener).await?;
    let workers = match opener {
        Opener::Server { threads, .. } => threads,
        Opener::Command => 0,
    };
    let blacklist = match redis.options(workers)? {
        None => None,
        Some(options) => {
            let deployment = sql.deployment(&DeploymentId::new(random::jti())).await?;
            Some(RedisBlacklist::open(&options, deployment, random::jti())?)
        }
    };
    Ok(Stores {
        blacklist,
        coalesces: database.coalesce_rotations,
        rotations: rotations(&sql, database.coalesce_rotations),
        sql,
        url,
        lifetimes: lifetimes.clone(),
    })
}

/// Migrates the database, and returns the names of the migrations. Waits for a database that is
/// starting or being promoted, but not for one that refuses the connection.
async fn migrated(
    url: &DatabaseUrl,
    timeout: Duration,
    opener: Opener,
) -> Result<Vec<String>, StartError> {
    let startup_timeout = match opener {
        Opener::Server { timeout, .. } => timeout,
        Opener::Command => Duration::ZERO,
    };
    let started = Instant::now();
    loop {
        let ran = match opener {
            Opener::Server { .. } => migrate::run(url, timeout).await,
            Opener::Command => migrate::upgrade(url, timeout).await,
        };
        let error = match ran {
            Ok(names) => return Ok(names),
            Err(error) => error,
        };
        let over = started.elapsed() >= startup_timeout;
        match error {
            MigrateError::Connect(ConnectError::Unreachable(reason))
            | MigrateError::Store(StoreError::Unavailable(reason)) => {
                if over {
                    let longer = if startup_timeout.is_zero() {
                        ""
                    } else {
                        ", raise LATCHKEY_STARTUP_TIMEOUT"
                    };
                    return Err(StartError::Unreachable(url.clone(), reason, longer));
                }
                tracing::warn!(database = %url, reason, "the database cannot be reached yet: trying again");
            }
            MigrateError::Connect(ConnectError::ReadOnly) if !over => {
                tracing::warn!(database = %url, reason = %ConnectError::ReadOnly, "the database takes no writes: trying again");
            }
            MigrateError::Empty => return Err(StartError::Empty(url.clone())),
            MigrateError::Connect(error) => return Err(StartError::Unusable(url.clone(), error)),
            error => return Err(error.into()),
        }
        tokio::time::sleep(RETRY_INTERVAL.min(startup_timeout)).await;
    }
}

impl Stores {
    pub(super) fn users(&self) -> Arc<dyn UserStore> {
        Arc::<SqlStore>::clone(&self.sql)
    }

    pub(super) fn sessions(&self) -> Arc<dyn SessionStore> {
        Arc::<SqlStore>::clone(&self.sql)
    }

    pub(super) fn rotations(&self) -> Arc<dyn RotationStore> {
        Arc::clone(&self.rotations)
    }

    pub(super) fn blacklist(&self) -> Option<Arc<dyn Blacklist>> {
        let blacklist = self.blacklist.clone()?;
        Some(Arc::new(blacklist))
    }

    /// Returns the stores of a worker, whose connections the current runtime drives. Workers that
    /// share a pool also share the coalescer, so that its limits hold for the pool.
    pub(super) fn for_worker(&self) -> Result<Self, StoreError> {
        let sql = Arc::new(self.sql.for_worker()?);
        let rotations = if sql.shares_pool_with(&self.sql) {
            self.rotations()
        } else {
            rotations(&sql, self.coalesces)
        };
        Ok(Self {
            blacklist: self.blacklist.as_ref().map(RedisBlacklist::for_worker),
            coalesces: self.coalesces,
            rotations,
            sql,
            url: self.url.clone(),
            lifetimes: self.lifetimes.clone(),
        })
    }

    pub(super) fn audit(&self) -> Arc<dyn AuditStore> {
        Arc::<SqlStore>::clone(&self.sql)
    }

    pub(super) fn sql(&self) -> Arc<SqlStore> {
        Arc::clone(&self.sql)
    }

    pub(super) fn trail(&self, clock: Arc<dyn Clock>) -> Trail {
        Trail {
            audit: self.audit(),
            clock,
            sessions: self.sessions(),
            users: self.users(),
        }
    }

    pub(super) fn revocation(&self, lifetimes: &LifetimesConfig) -> Revocation {
        let lifetimes = EntryLifetimes {
            refresh: lifetimes.refresh(),
            session: lifetimes.session(),
        };
        Revocation::new(self.sessions(), self.blacklist(), lifetimes)
    }

    pub(super) fn accounts(
        &self,
        actor: Actor,
        clock: Arc<dyn Clock>,
        hasher: Hasher,
    ) -> UserAdmin {
        UserAdmin {
            actor,
            audit: self.audit(),
            clock,
            hasher,
            revocation: self.revocation(&self.lifetimes),
            sessions: self.sessions(),
            users: self.users(),
        }
    }

    pub(super) fn janitor(
        &self,
        clock: Arc<dyn Clock>,
        lifetimes: &LifetimesConfig,
        audit: &AuditConfig,
    ) -> Maintenance {
        let trail = (self.audit(), audit.retention());
        Maintenance::new(
            clock,
            self.users(),
            self.sessions(),
            trail,
            self.revocation(lifetimes),
        )
    }
}

/// Returns the rotations of a store, coalesced if the settings say so.
fn rotations(sql: &Arc<SqlStore>, coalesces: bool) -> Arc<dyn RotationStore> {
    let coalescing = coalesces.then(|| CoalescingStore::new(sql)).flatten();
    match coalescing {
        Some(coalescing) => Arc::new(coalescing),
        None => Arc::<SqlStore>::clone(sql),
    }
}
