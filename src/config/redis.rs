//! Redis.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};

use super::{ConfigError, environment::secret, value};
use crate::store::redis::{RedisOptions, RedisUrl};

/// The blacklist in front of the database.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Redis")]
pub struct RedisConfig {
    /// redis://HOST:PORT/DATABASE, or rediss:// for TLS; without it, the database answers alone
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub redis_url: Option<SecretString>,

    /// File that holds the Redis URL, instead of the URL itself
    #[arg(long, env = "REDIS_URL_FILE", value_name = "PATH")]
    pub redis_url_file: Option<PathBuf>,

    /// What the names of all keys in Redis begin with
    #[arg(long, env = "LATCHKEY_REDIS_PREFIX", value_name = "TEXT", default_value = "latchkey", value_parser = prefix)]
    pub redis_prefix: String,

    /// How long Redis may take to connect and answer; after a failure it is left alone for a second
    #[arg(long, env = "LATCHKEY_REDIS_TIMEOUT", value_name = "SPAN", default_value = "200ms", value_parser = value::positive_duration)]
    pub redis_timeout: Duration,
}

/// Braces would make another hash tag.
fn prefix(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        Ok(text.to_owned())
    } else {
        Err("expected letters, digits, hyphens, underscores and dots".to_owned())
    }
}

impl RedisConfig {
    /// The server that is meant, if any.
    ///
    /// # Errors
    /// When the URL is not one, or the file cannot be read.
    pub fn url(&self) -> Result<Option<RedisUrl>, ConfigError> {
        let given = secret("REDIS_URL", self.redis_url.as_ref(), self.redis_url_file.as_deref())?;
        given
            .map(|url| url.expose_secret().parse::<RedisUrl>())
            .transpose()
            .map_err(|error| ConfigError::new("REDIS_URL", "is not the URL of a Redis server", &error.to_string()))
    }

    /// How to use it, if at all.
    ///
    /// # Errors
    /// As [`RedisConfig::url`].
    pub fn options(&self) -> Result<Option<RedisOptions>, ConfigError> {
        let (prefix, timeout) = (self.redis_prefix.clone(), self.redis_timeout);
        Ok(self.url()?.map(|url| RedisOptions { url, prefix, timeout }))
    }
}
