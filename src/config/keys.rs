//! Signing keys.

use std::{path::PathBuf, time::Duration};

use chrono::TimeDelta;
use clap::{Args, ValueEnum};
use latchkey_verifier::Algorithm;

use super::{ConfigError, value};
use crate::{domain::keys::PROPAGATION, files};

/// Where the keys are.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum KeysPlace {
    /// In the database.
    Database,
    /// In files.
    Directory,
}

/// Keys.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Keys")]
pub struct KeysConfig {
    /// Where keys are kept: directory, one file each, for one instance or several that share it; database, encrypted, for instances
    /// that share nothing else
    #[arg(
        long,
        env = "LATCHKEY_KEYS",
        value_name = "PLACE",
        default_value = "directory",
        hide_possible_values = true
    )]
    pub keys: KeysPlace,

    /// The directory, whose files are readable by their owner alone
    #[arg(
        long,
        env = "LATCHKEY_KEYS_DIR",
        value_name = "PATH",
        default_value = "keys"
    )]
    pub keys_dir: PathBuf,

    /// A file with the passphrase that private keys are encrypted with, at least 16 characters; without it they are not
    #[arg(long, env = "LATCHKEY_KEYS_PASSPHRASE_FILE", value_name = "PATH")]
    pub keys_passphrase_file: Option<PathBuf>,

    /// What access tokens are signed with: ES256, ES384, EdDSA, RS256, RS384, RS512, PS256, PS384, PS512, or a shared
    /// secret with HS256, HS384, HS512
    #[arg(
        long,
        env = "LATCHKEY_ALGORITHM",
        value_name = "NAME",
        default_value = "ES256"
    )]
    pub algorithm: Algorithm,

    /// Time for which a new key is published before it signs. It must exceed the time for which verifiers cache the key
    /// set: some never fetch it early (Istio: 20 minutes; API gateways: up to an hour)
    #[arg(long, env = "LATCHKEY_KEY_PUBLISH_LEAD", value_name = "SPAN", default_value = "1h", value_parser = value::duration)]
    pub key_publish_lead: Duration,

    /// How long a key signs before its successor does, which is made in time by itself; 0 means until you make one
    #[arg(long, env = "LATCHKEY_KEY_ROTATION_INTERVAL", value_name = "SPAN", default_value = "90d", value_parser = value::duration)]
    pub key_rotation_interval: Duration,
}

impl KeysConfig {
    /// Settings that contradict each other.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn check(
        &self,
        jwks_max_age: Duration,
        longest_token: Duration,
    ) -> Result<(), ConfigError> {
        let notice = PROPAGATION.to_std().unwrap_or_default();
        if self.key_publish_lead < jwks_max_age + notice {
            return Err(ConfigError::new(
                "LATCHKEY_KEY_PUBLISH_LEAD",
                "is not longer than LATCHKEY_JWKS_MAX_AGE, so clients would meet a key that they have not seen",
                "at least LATCHKEY_JWKS_MAX_AGE and 5s more, in which every instance notices a new key",
            ));
        }
        self.check_interval(longest_token)?;
        self.check_protection()
    }

    /// Keys that are made faster than they go would fill the ring.
    fn check_interval(&self, longest_token: Duration) -> Result<(), ConfigError> {
        let interval = self.key_rotation_interval;
        if interval.is_zero() || interval > self.key_publish_lead.max(longest_token / 10) {
            return Ok(());
        }
        Err(ConfigError::new(
            "LATCHKEY_KEY_ROTATION_INTERVAL",
            "is too short for LATCHKEY_KEY_PUBLISH_LEAD or for LATCHKEY_REFRESH_TOKEN_LIFETIME, so keys would pile up",
            "0, or more than LATCHKEY_KEY_PUBLISH_LEAD and than a tenth of LATCHKEY_REFRESH_TOKEN_LIFETIME",
        ))
    }

    /// Private parts never lie in the database as they are.
    ///
    /// # Errors
    /// When they would.
    pub fn check_protection(&self) -> Result<(), ConfigError> {
        if self.keys == KeysPlace::Database && self.keys_passphrase_file.is_none() {
            return Err(ConfigError::new(
                "LATCHKEY_KEYS_PASSPHRASE_FILE",
                "is missing, and with LATCHKEY_KEYS=database private keys are kept only encrypted",
                "a file with a passphrase, such as what `openssl rand -base64 32` prints",
            ));
        }
        let Some(path) = &self.keys_passphrase_file else {
            return Ok(());
        };
        let refused = |wrong: &str| {
            let right = "a regular file that no other user can write to";
            ConfigError::new(
                "LATCHKEY_KEYS_PASSPHRASE_FILE",
                &format!("cannot be used: {wrong}"),
                right,
            )
        };
        files::refuse_special(path)
            .map_err(|wrong| refused(&format!("{} {wrong}", path.display())))?;
        files::refuse_foreign_writers(path).map_err(|wrong| refused(&wrong))
    }

    /// How long a key signs before the service makes its successor; `None`: it does not.
    #[must_use]
    pub fn interval(&self) -> Option<TimeDelta> {
        (!self.key_rotation_interval.is_zero()).then(|| value::delta(self.key_rotation_interval))
    }
}
