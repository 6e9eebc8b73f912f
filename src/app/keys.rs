//! The ring of signing keys: where it is, and who looks after it.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    StartError,
    stores::{self, Opener},
};
use crate::{
    config::{DatabaseConfig, KeysConfig, LifetimesConfig, keys::KeysPlace, value},
    crypto::passphrase::WrappingCost,
    domain::{
        audit::{Actor, AuditEntry, AuditEvent},
        keys::MaxLifetimes,
        time::Moment,
    },
    ports::{AuditQuery, AuditStore, Clock, KeyStore, StoreError},
    service::keys::{KeyManager, KeyRules, OpenedKeys},
    store::{
        key_directory::KeyDirectory,
        sql::{SqlPool, SqlStore},
    },
};

/// The settings of what changes keys.
pub struct KeysSettings<'a> {
    /// Keys.
    pub keys: &'a KeysConfig,
    /// The database, for the audit trail, and for the keys where they are there.
    pub database: &'a DatabaseConfig,
    /// How long keys are needed.
    pub lifetimes: &'a LifetimesConfig,
    /// Who gives the orders.
    pub actor: Actor,
}

/// For commands that look and change nothing, and for `revoke`: the database is opened only where the keys are there, and not
/// brought to this version. What is done goes into the audit trail afterwards, if that can be reached then: a key that has to go
/// must go.
///
/// # Errors
/// [`StartError`].
pub fn looker(
    settings: &KeysSettings<'_>,
    clock: Arc<dyn Clock>,
) -> Result<KeyManager, StartError> {
    let sql = match settings.keys.keys {
        KeysPlace::Database => Some(connect(settings.database)?),
        KeysPlace::Directory => None,
    };
    // Keys may come before the database, which no change of theirs creates.
    let audit = if settings.database.is_missing() {
        None
    } else {
        Some(Arc::new(AuditLater {
            database: settings.database.clone(),
        }) as Arc<dyn AuditStore>)
    };
    Ok(manager(settings, sql.as_ref(), audit, clock))
}

/// For commands that make and change keys.
///
/// # Errors
/// [`StartError`].
pub async fn writer(
    settings: &KeysSettings<'_>,
    clock: Arc<dyn Clock>,
) -> Result<KeyManager, StartError> {
    settings.keys.check_protection()?;
    if settings.keys.keys == KeysPlace::Directory {
        return looker(settings, clock);
    }
    let (sql, _) = stores::open_sql(settings.database, Opener::Command).await?;
    let audit = Arc::<SqlStore>::clone(&sql) as Arc<dyn AuditStore>;
    Ok(manager(settings, Some(&sql), Some(audit), clock))
}

/// An audit trail whose database is opened when there is something to tell.
struct AuditLater {
    database: DatabaseConfig,
}

#[async_trait]
impl AuditStore for AuditLater {
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
