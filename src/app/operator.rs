//! Services for commands other than `serve`.

use std::sync::Arc;

use super::{StartError, stores};
use crate::config::{AuditConfig, DatabaseConfig, LifetimesConfig, PasswordsConfig, RedisConfig};
use latchkey_crypto::hasher::Hasher;
use latchkey_domain::{audit::Actor, ports::Clock};
use latchkey_service::{audit::trail::Trail, revocation::janitor::Maintenance, users::UserAdmin};

/// Settings of a command.
pub struct OperatorConfig<'a> {
    /// Database.
    pub database: &'a DatabaseConfig,
    /// Blacklist. A command writes the entries of its revocations at once.
    pub redis: &'a RedisConfig,
    /// Lifetimes, for the expiry of entries.
    pub lifetimes: &'a LifetimesConfig,
    /// Retention of audit events.
    pub audit: &'a AuditConfig,
    /// Actor of the audit events.
    pub actor: Actor,
}

/// Opens the administration of users and sessions.
///
/// # Errors
/// [`StartError`].
pub async fn accounts(
    config: OperatorConfig<'_>,
    passwords: &PasswordsConfig,
    clock: Arc<dyn Clock>,
) -> Result<UserAdmin, StartError> {
    passwords.check()?;
    let stores = open(&config).await?;
    Ok(stores.accounts(config.actor, clock, Hasher::start(passwords.cost(), 1, 1)?))
}

/// Opens the maintenance of the database.
///
/// # Errors
/// [`StartError`].
pub async fn janitor(
    config: OperatorConfig<'_>,
    clock: Arc<dyn Clock>,
) -> Result<Maintenance, StartError> {
    let stores = open(&config).await?;
    Ok(stores.janitor(clock, config.lifetimes, config.audit))
}

/// Opens the audit trail for reading.
///
/// # Errors
/// [`StartError`].
pub async fn trail(config: OperatorConfig<'_>, clock: Arc<dyn Clock>) -> Result<Trail, StartError> {
    let stores = open(&config).await?;
    Ok(stores.trail(clock))
}

async fn open(config: &OperatorConfig<'_>) -> Result<stores::Stores, StartError> {
    config.lifetimes.check()?;
    stores::open(
        config.database,
        config.redis,
        config.lifetimes,
        stores::Opener::Command,
    )
    .await
}
