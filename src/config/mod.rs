//! Settings. Each one is a flag, an environment variable and an entry of `latchkey serve --help`.
//! CONTRIBUTING.md says how to add one.
//!
//! Only the command line and the composition root read the sections, and pass on plain values.
#![expect(
    clippy::doc_markdown,
    reason = "the doc comments of settings are the text of --help, without markup"
)]

mod audit;
pub mod database;
pub mod dotenv;
mod dotenv_lines;
pub mod environment;
mod exposure;
pub mod http;
pub mod keys;
pub mod log;
pub mod passwords;
mod redis;
pub mod tokens;
pub mod value;

pub use audit::AuditConfig;
pub use database::DatabaseConfig;
pub use environment::ConfigError;
pub use http::HttpConfig;
pub use keys::KeysConfig;
pub use log::LogConfig;
pub use passwords::PasswordsConfig;
pub use redis::RedisConfig;
pub use tokens::{LifetimesConfig, TokensConfig};

use clap::Args;

/// All settings of a server.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// HTTP server.
    #[command(flatten)]
    pub http: HttpConfig,
    /// Database.
    #[command(flatten)]
    pub database: DatabaseConfig,
    /// Blacklist in Redis.
    #[command(flatten)]
    pub redis: RedisConfig,
    /// Signing keys.
    #[command(flatten)]
    pub keys: KeysConfig,
    /// Lifetimes of tokens and sessions.
    #[command(flatten)]
    pub lifetimes: LifetimesConfig,
    /// Contents and rotation of tokens.
    #[command(flatten)]
    pub tokens: TokensConfig,
    /// Audit trail.
    #[command(flatten)]
    pub audit: AuditConfig,
    /// Password hashing.
    #[command(flatten)]
    pub passwords: PasswordsConfig,
    /// Log.
    #[command(flatten)]
    pub log: LogConfig,
}

impl Config {
    /// Returns the issuer of the tokens. Without the setting, it is the address to listen on,
    /// if that is a loopback address.
    ///
    /// # Errors
    /// If the issuer is not set and the address is not a loopback address.
    pub fn issuer(&self) -> Result<String, ConfigError> {
        match &self.tokens.issuer {
            Some(issuer) => Ok(issuer.clone()),
            None if self.http.bind.ip().is_loopback() => Ok(format!("http://{}", self.http.bind)),
            None => Err(ConfigError::new(
                "LATCHKEY_ISSUER",
                "is missing, and LATCHKEY_BIND is not a loopback address",
                "the URL under which clients reach this server, such as https://auth.example.com",
            )),
        }
    }

    /// Checks all settings, and their agreement with each other.
    ///
    /// # Errors
    /// The first invalid setting, or the first conflict between settings.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.issuer()?;
        self.database.url()?;
        self.redis.options(0)?;
        self.lifetimes.check()?;
        self.tokens.check()?;
        self.keys.check(
            self.http.jwks_max_age,
            self.lifetimes.refresh_token_lifetime,
        )?;
        self.passwords.check()
    }
}
