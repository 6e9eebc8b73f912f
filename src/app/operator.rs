//! What commands other than `serve` work with.

use std::{sync::Arc, time::Duration};

use super::{StartError, stores};
use crate::{
    config::{DatabaseConfig, LifetimesConfig, PasswordsConfig, RedisConfig},
    crypto::hasher::Hasher,
    ports::Clock,
    service::{accounts::Accounts, janitor::Janitor},
};

/// An operator's command fails at once where a server would wait.
const PATIENCE: Duration = Duration::ZERO;

/// The settings that a command needs.
pub struct OperatorConfig<'a> {
    /// The database.
    pub database: &'a DatabaseConfig,
    /// The blacklist, so that what a command revokes is marked at once.
    pub redis: &'a RedisConfig,
    /// How long marks are kept.
    pub lifetimes: &'a LifetimesConfig,
}

/// Users and sessions.
///
/// # Errors
/// [`StartError`].
pub async fn accounts(
    config: OperatorConfig<'_>,
    passwords: &PasswordsConfig,
    clock: Arc<dyn Clock>,
) -> Result<Accounts, StartError> {
    passwords.check()?;
    let stores = open(&config).await?;
    Ok(stores.accounts(clock, Hasher::start(passwords.cost(), 1, 1)?))
}

/// The janitor.
///
/// # Errors
/// [`StartError`].
pub async fn janitor(config: OperatorConfig<'_>, clock: Arc<dyn Clock>) -> Result<Janitor, StartError> {
    let stores = open(&config).await?;
    Ok(stores.janitor(clock, config.lifetimes))
}

async fn open(config: &OperatorConfig<'_>) -> Result<stores::Stores, StartError> {
    config.lifetimes.check()?;
    stores::open(config.database, config.redis, config.lifetimes, PATIENCE).await
}
