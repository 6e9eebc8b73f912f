//! Settings of the blacklist in Redis.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    ConfigError,
    environment::{secret, shown_path},
    value,
};
use latchkey_cache::{RedisOptions, RedisUrl};
use latchkey_files as files;

const SENTINELS: &str = "LATCHKEY_REDIS_SENTINELS";
const ROOT_CERTIFICATE: &str = "LATCHKEY_REDIS_ROOT_CERTIFICATE";

/// Connection to the blacklist.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Redis")]
pub struct RedisConfig {
    /// redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss:// for TLS; of a cluster, some nodes
    /// separated by commas. Without it, the database answers every check
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub redis_url: Option<SecretString>,

    /// File that holds the Redis URL, instead of the URL itself
    #[arg(long, env = "REDIS_URL_FILE", value_name = "PATH")]
    pub redis_url_file: Option<PathBuf>,

    /// Sentinels, redis:// URLs separated by commas; the host in the Redis URL is then the name of
    /// their master
    #[arg(
        long,
        env = "LATCHKEY_REDIS_SENTINELS",
        value_name = "URLS",
        hide_env_values = true
    )]
    pub redis_sentinels: Option<SecretString>,

    /// File with the certificates (PEM) that verify Redis over TLS, instead of the system's
    #[arg(long, env = "LATCHKEY_REDIS_ROOT_CERTIFICATE", value_name = "PATH")]
    pub redis_root_certificate: Option<PathBuf>,

    /// Prefix of the names of all keys in Redis
    #[arg(long, env = "LATCHKEY_REDIS_PREFIX", value_name = "TEXT", default_value = "latchkey", value_parser = prefix)]
    pub redis_prefix: String,

    /// Time limit for connecting to Redis and for its response. A failure is followed by a
    /// back-off of a second
    #[arg(long, env = "LATCHKEY_REDIS_TIMEOUT", value_name = "DURATION", default_value = "200ms", value_parser = value::positive_duration)]
    pub redis_timeout: Duration,
}

/// Parses a prefix. Braces are refused: they would form another hash tag.
fn prefix(text: &str) -> Result<String, String> {
    if !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    {
        Ok(text.to_owned())
    } else {
        Err("expected letters, digits, hyphens, underscores and dots".to_owned())
    }
}

impl RedisConfig {
    /// Returns the URL of Redis, if one is set.
    ///
    /// # Errors
    /// If the URL is invalid, or its file cannot be read.
    pub fn url(&self) -> Result<Option<RedisUrl>, ConfigError> {
        let given = secret(
            "REDIS_URL",
            self.redis_url.as_ref(),
            self.redis_url_file.as_deref(),
        )?;
        given
            .map(|url| url.expose_secret().parse::<RedisUrl>())
            .transpose()
            .map_err(|error| ConfigError::new("REDIS_URL", &error.wrong, error.right))
    }

    /// Returns the URLs of the Sentinels, if any are set.
    ///
    /// # Errors
    /// If a URL is invalid, or the Redis URL does not name a master.
    pub fn sentinels(&self) -> Result<Option<RedisUrl>, ConfigError> {
        let Some(text) = &self.redis_sentinels else {
            return Ok(None);
        };
        let url = RedisUrl::sentinels(text.expose_secret()).map_err(|error| {
            if !error.is_form() {
                return ConfigError::new(SENTINELS, &error.wrong, error.right);
            }
            let right = "redis://HOST:26379, several separated by commas, or rediss://… for TLS";
            ConfigError::new(SENTINELS, "is not a list of URLs of Sentinels", right)
        })?;
        match self.url()? {
            Some(master) if !master.is_list() && master.is_network() => Ok(Some(url)),
            _ => {
                let right = "redis://NAME/DATABASE, with the name of the master in the Sentinels";
                Err(ConfigError::new(
                    "REDIS_URL",
                    &format!("does not name a master, and {SENTINELS} is set"),
                    right,
                ))
            }
        }
    }

    fn root_certificate(&self, tls: bool) -> Result<Option<Vec<u8>>, ConfigError> {
        let Some(path) = &self.redis_root_certificate else {
            return Ok(None);
        };
        if !tls {
            let right = "rediss:// in REDIS_URL, or no certificate";
            return Err(ConfigError::new(
                ROOT_CERTIFICATE,
                "is set, but no connection to Redis uses TLS",
                right,
            ));
        }
        read_certificates(path).map(Some)
    }

    /// Returns the options of the blacklist, if Redis is configured. Each of `workers` gets its own
    /// connections.
    ///
    /// # Errors
    /// Errors of [`RedisConfig::url`] and [`RedisConfig::sentinels`], and a file without
    /// certificates.
    pub fn options(&self, workers: usize) -> Result<Option<RedisOptions>, ConfigError> {
        let (prefix, timeout) = (self.redis_prefix.clone(), self.redis_timeout);
        let (url, sentinels) = (self.url()?, self.sentinels()?);
        let tls = [&url, &sentinels]
            .into_iter()
            .flatten()
            .any(RedisUrl::uses_tls);
        let root_certificate = self.root_certificate(tls)?;
        Ok(url.map(|url| RedisOptions {
            url,
            sentinels,
            root_certificate,
            prefix,
            timeout,
            workers,
        }))
    }
}

/// Reads a file of certificates. A file without one would otherwise fail only at the first
/// connection.
fn read_certificates(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let shown = shown_path(path);
    let refused =
        |wrong: &str| ConfigError::new(ROOT_CERTIFICATE, wrong, "a file with certificates in PEM");
    let bytes = files::read_protected(path, files::CERTIFICATES_LIMIT)
        .map_err(|error| refused(&format!("names {shown}, which {error}")))?;
    let blocks = pem::parse_many(&*bytes)
        .map_err(|error| refused(&format!("names {shown}, which is not PEM ({error})")))?;
    if blocks.iter().any(|block| block.tag() == "CERTIFICATE") {
        Ok(bytes.to_vec())
    } else {
        Err(refused(&format!(
            "names {shown}, which holds no certificate"
        )))
    }
}
