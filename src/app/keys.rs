//! Opens the key ring for the server and for commands.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    StartError,
    stores::{self, Opener},
};
use crate::config::{DatabaseConfig, KeysConfig, LifetimesConfig, keys::KeysPlace, value};
use latchkey_crypto::passphrase::WrappingCost;
use latchkey_domain::{
    audit::{Actor, AuditEntry, AuditEvent},
    keys::MaxLifetimes,
    ports::{AuditQuery, AuditStore, Clock, KeyStore, StoreError},
    time::Moment,
};
use latchkey_service::keys::{KeyManager, KeyRules, OpenedKeys};
use latchkey_store::{
    key_directory::KeyDirectory,
    sql::{SqlPool, SqlStore},
};

/// Settings of the key ring.
pub struct KeysSettings<'a> {
    /// Signing keys.
    pub keys: &'a KeysConfig,
    /// Database of the audit trail, and of the keys if they are stored in it.
    pub database: &'a DatabaseConfig,
    /// Lifetimes of tokens, for the removal of keys.
    pub lifetimes: &'a LifetimesConfig,
    /// Actor of the audit events.
    pub actor: Actor,
}

/// Opens the key ring for commands that only read it, and for `revoke`.
///
/// The database is not migrated, and is opened only if it holds the keys. An audit event is written
/// after the change, if the database can be reached: a failure of the audit trail must not prevent
/// a revocation.
///
/// # Errors
/// [`StartError`].
pub fn reader(
    settings: &KeysSettings<'_>,
    clock: Arc<dyn Clock>,
) -> Result<KeyManager, StartError> {
    let sql = match settings.keys.keys {
        KeysPlace::Database => Some(connect(settings.database)?),
        KeysPlace::Directory => None,
    };
    // Keys can be created before the database. A change of keys does not create it.
    let audit = if settings.database.is_missing() {
        None
    } else {
        Some(Arc::new(LazyAuditStore {
            database: settings.database.clone(),
        }) as Arc<dyn AuditStore>)
    };
    Ok(manager(settings, sql.as_ref(), audit, clock))
}

/// Opens the key ring for commands that create and change keys.
///
/// # Errors
/// [`StartError`].
pub async fn writer(
    settings: &KeysSettings<'_>,
    clock: Arc<dyn Clock>,
) -> Result<KeyManager, StartError> {
    settings.keys.check_protection()?;
    if settings.keys.keys == KeysPlace::Directory {
        return reader(settings, clock);
    }
    let (sql, _) = stores::open_sql(settings.database, Opener::Command).await?;
    let audit = Arc::<SqlStore>::clone(&sql) as Arc<dyn AuditStore>;
    Ok(manager(settings, Some(&sql), Some(audit), clock))
}

/// Audit trail that opens its database at the first event.
struct LazyAuditStore {
    database: DatabaseConfig,
}

#[async_trait]
impl AuditStore for LazyAuditStore {
    async fn append(&self, events: &[(AuditEvent, u32)]) -> Result<(), StoreError> {
        let opened = stores::open_sql(&self.database, Opener::Command).await;
        let (sql, _) = opened.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        sql.append(events).await
    }

    async fn events(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
        connect(&self.database)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?
            .events(query)
            .await
    }

    async fn purge(&self, before: Moment, limit: i64) -> Result<usize, StoreError> {
        let sql =
            connect(&self.database).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        sql.purge(before, limit).await
    }
}

fn connect(database: &DatabaseConfig) -> Result<Arc<SqlStore>, StartError> {
    Ok(Arc::new(SqlStore::new(SqlPool::open(
        &database.existing()?,
        database.limits(),
    )?)))
}

pub(super) fn manager(
    settings: &KeysSettings<'_>,
    sql: Option<&Arc<SqlStore>>,
    audit: Option<Arc<dyn AuditStore>>,
    clock: Arc<dyn Clock>,
) -> KeyManager {
    let KeysSettings {
        keys,
        lifetimes,
        actor,
        ..
    } = settings;
    let store: Arc<dyn KeyStore> = match (keys.keys, sql) {
        (KeysPlace::Database, Some(sql)) => Arc::<SqlStore>::clone(sql),
        _ => Arc::new(KeyDirectory::new(&keys.keys_dir)),
    };
    let rules = KeyRules {
        algorithm: keys.algorithm,
        lead: value::delta(keys.key_publish_lead),
        interval: keys.interval(),
        lives: MaxLifetimes {
            access: lifetimes.access(),
            refresh: lifetimes.refresh(),
        },
        wrapping: WrappingCost::OWASP,
    };
    let passphrase = keys.keys_passphrase_file.clone();
    KeyManager {
        actor: actor.clone(),
        audit,
        clock,
        opened: OpenedKeys::default(),
        passphrase,
        rules,
        store,
    }
}
