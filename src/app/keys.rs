//! The ring of signing keys: where it is, and who looks after it.

use std::sync::Arc;

use super::{StartError, operator::PATIENCE, stores};
use crate::{
    config::{DatabaseConfig, KeysConfig, LifetimesConfig, keys::KeysPlace, value},
    crypto::keyring::TokenLives,
    domain::audit::Actor,
    ports::{AuditStore, Clock, KeyStore},
    service::keys::{KeyManager, KeyRules},
    store::{key_directory::KeyDirectory, sql::SqlStore},
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

/// For commands that look and change nothing: in the database only where the keys are there.
///
/// # Errors
/// [`StartError`].
pub async fn reader(settings: KeysSettings<'_>, clock: Arc<dyn Clock>) -> Result<KeyManager, StartError> {
    settings.keys.check_protection()?;
    let sql = match settings.keys.keys {
        KeysPlace::Database => Some(stores::open_sql(settings.database, PATIENCE).await?.0),
        KeysPlace::Directory => None,
    };
    Ok(manager(&settings, sql.as_ref(), None, clock))
}

/// For commands that change keys. A database that cannot be reached costs the entry in the audit trail, and where the keys are
/// files nothing else: a key that has to go must go. Then also why.
///
/// # Errors
/// [`StartError`].
pub async fn writer(
    settings: KeysSettings<'_>,
    clock: Arc<dyn Clock>,
) -> Result<(KeyManager, Option<StartError>), StartError> {
    settings.keys.check_protection()?;
    let (sql, missing) = match stores::open_sql(settings.database, PATIENCE).await {
        Ok((sql, _)) => (Some(sql), None),
        Err(error) if settings.keys.keys == KeysPlace::Directory => (None, Some(error)),
        Err(error) => return Err(error),
    };
    let audit = sql.as_ref().map(|sql| Arc::<SqlStore>::clone(sql) as Arc<dyn AuditStore>);
    Ok((manager(&settings, sql.as_ref(), audit, clock), missing))
}

pub(super) fn manager(
    settings: &KeysSettings<'_>,
    sql: Option<&Arc<SqlStore>>,
    audit: Option<Arc<dyn AuditStore>>,
    clock: Arc<dyn Clock>,
) -> KeyManager {
    let KeysSettings { keys, lifetimes, actor, .. } = settings;
    let store: Arc<dyn KeyStore> = match (keys.keys, sql) {
        (KeysPlace::Database, Some(sql)) => Arc::<SqlStore>::clone(sql),
        _ => Arc::new(KeyDirectory::new(&keys.keys_dir)),
    };
    let rules = KeyRules {
        algorithm: keys.algorithm,
        lead: value::delta(keys.key_publish_lead),
        interval: keys.interval(),
        lives: TokenLives { access: lifetimes.access(), refresh: lifetimes.refresh() },
    };
    let passphrase = keys.keys_passphrase_file.clone();
    KeyManager { actor: actor.clone(), audit, clock, passphrase, rules, store }
}
