//! Redis.

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
use crate::{
    files,
    store::redis::{RedisOptions, RedisUrl},
};

const SENTINELS: &str = "LATCHKEY_REDIS_SENTINELS";
const ROOT_CERTIFICATE: &str = "LATCHKEY_REDIS_ROOT_CERTIFICATE";

/// The blacklist in front of the database.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Redis")]
pub struct RedisConfig {
    /// redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss:// for TLS; of a cluster, some nodes separated by commas;
    /// without it, the database answers alone
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub redis_url: Option<SecretString>,

    /// File that holds the Redis URL, instead of the URL itself
    #[arg(long, env = "REDIS_URL_FILE", value_name = "PATH")]
    pub redis_url_file: Option<PathBuf>,

    /// Sentinels, redis:// URLs separated by commas; the host in the Redis URL is then the name of their master
    #[arg(
        long,
        env = "LATCHKEY_REDIS_SENTINELS",
        value_name = "URLS",
        hide_env_values = true
    )]
    pub redis_sentinels: Option<SecretString>,

    /// File with the certificates (PEM) that Redis over TLS is verified by, instead of the system's
    #[arg(long, env = "LATCHKEY_REDIS_ROOT_CERTIFICATE", value_name = "PATH")]
    pub redis_root_certificate: Option<PathBuf>,

    /// What the names of all keys in Redis begin with
    #[arg(long, env = "LATCHKEY_REDIS_PREFIX", value_name = "TEXT", default_value = "latchkey", value_parser = prefix)]
    pub redis_prefix: String,

    /// How long Redis may take to connect and answer; after a failure it is left alone for a second
    #[arg(long, env = "LATCHKEY_REDIS_TIMEOUT", value_name = "SPAN", default_value = "200ms", value_parser = value::positive_duration)]
    pub redis_timeout: Duration,
}

/// Braces would make another hash tag.
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
    /// The server that is meant, if any.
    ///
    /// # Errors
    /// When the URL is not one, or the file cannot be read.
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

    /// The Sentinels, if there are any.
    ///
    /// # Errors
    /// When one is not the URL of a server, or there is no master to ask them for.
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
                let right =
                    "redis://NAME/DATABASE, with the name by which the Sentinels know the master";
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
                "is set, and no Redis is spoken to over TLS",
                right,
            ));
        }
        read_certificates(path).map(Some)
    }

    /// How to use it, if at all.
    ///
    /// # Errors
    /// As [`RedisConfig::url`] and [`RedisConfig::sentinels`], and when there is no certificate in the file for it.
    pub fn options(&self) -> Result<Option<RedisOptions>, ConfigError> {
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
        }))
    }
}

/// A file without a certificate would otherwise be found by the first connection.
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
