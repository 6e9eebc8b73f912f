//! What commands other than `serve` work with.

use std::sync::Arc;

use super::{StartError, stores};
use crate::{
    config::{AuditConfig, DatabaseConfig, LifetimesConfig, PasswordsConfig, RedisConfig},
    crypto::hasher::Hasher,
    domain::audit::Actor,
    ports::Clock,
    service::{janitor::Maintenance, trail::Trail, user_admin::UserAdmin},
};

/// The settings that a command needs.
pub struct OperatorConfig<'a> {
    /// The database.
    pub database: &'a DatabaseConfig,
    /// The blacklist, so that what a command revokes is marked at once.
    pub redis: &'a RedisConfig,
    /// How long marks are kept.
    pub lifetimes: &'a LifetimesConfig,
    /// How long audit events are kept.
    pub audit: &'a AuditConfig,
    /// Who gives the orders.
    pub actor: Actor,
}

/// Users and sessions.
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

/// The janitor.
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

/// The audit trail, to be read.
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
