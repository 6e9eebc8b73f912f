//! Settings: each one is a flag, an environment variable and a line of `latchkey serve --help`. Sections are structs;
//! they are read by the command line and the composition root alone and handed down as plain values.
#![expect(
    clippy::doc_markdown,
    reason = "the comments on settings are what --help prints: no backticks, no brackets"
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
    /// Where it listens, and limits of requests.
    #[command(flatten)]
    pub http: HttpConfig,
    /// The database.
    #[command(flatten)]
    pub database: DatabaseConfig,
    /// The blacklist in front of it.
    #[command(flatten)]
    pub redis: RedisConfig,
    /// Keys.
    #[command(flatten)]
    pub keys: KeysConfig,
    /// How long things last.
    #[command(flatten)]
    pub lifetimes: LifetimesConfig,
    /// What tokens say, and how they are exchanged.
    #[command(flatten)]
    pub tokens: TokensConfig,
    /// The audit trail.
    #[command(flatten)]
    pub audit: AuditConfig,
    /// Password hashing.
    #[command(flatten)]
    pub passwords: PasswordsConfig,
    /// The log.
    #[command(flatten)]
    pub log: LogConfig,
}

impl Config {
    /// The issuer: the one that is set, else the address that is listened on, where that is only this machine's.
    ///
    /// # Errors
    /// When other machines can reach the address, and so the name has to be told.
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

    /// Settings that contradict each other.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.issuer()?;
        self.database.url()?;
        self.redis.options()?;
        self.lifetimes.check()?;
        self.tokens.check()?;
        self.keys.check(
            self.http.jwks_max_age,
            self.lifetimes.refresh_token_lifetime,
        )?;
        self.passwords.check()
    }
}
