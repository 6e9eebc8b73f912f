//! Settings of the signing keys.

use std::{path::PathBuf, time::Duration};

use chrono::TimeDelta;
use clap::{Args, ValueEnum};
use latchkey_verifier::Algorithm;

use super::{ConfigError, value};
use latchkey_domain::keys::PROPAGATION;
use latchkey_files as files;

/// Store of the key ring.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum KeysPlace {
    /// Database.
    Database,
    /// Directory of key files.
    Directory,
}

/// Store, protection and rotation of the signing keys.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Keys")]
pub struct KeysConfig {
    /// Store of the keys: directory, one file for each key, for one instance or several that share
    /// it; database, encrypted, for instances that share only the database
    #[arg(
        long,
        env = "LATCHKEY_KEYS",
        value_name = "PLACE",
        default_value = "directory",
        hide_possible_values = true
    )]
    pub keys: KeysPlace,

    /// Directory of the key files, which only their owner can read
    #[arg(
        long,
        env = "LATCHKEY_KEYS_DIR",
        value_name = "PATH",
        default_value = "keys"
    )]
    pub keys_dir: PathBuf,

    /// File with the passphrase that encrypts private keys: at least 16 characters, and hard to
    /// guess. Without it, they are not encrypted
    #[arg(long, env = "LATCHKEY_KEYS_PASSPHRASE_FILE", value_name = "PATH")]
    pub keys_passphrase_file: Option<PathBuf>,

    /// Algorithm that signs access tokens: ES256, ES384, EdDSA, RS256, RS384, RS512, PS256, PS384,
    /// PS512, or HS256, HS384, HS512 with a shared secret
    #[arg(
        long,
        env = "LATCHKEY_ALGORITHM",
        value_name = "NAME",
        default_value = "ES256"
    )]
    pub algorithm: Algorithm,

    /// Time for which a new key is published before it signs. It must exceed the time for which
    /// verifiers cache the key set: some never fetch it early (Istio: 20 minutes; API gateways: up
    /// to an hour)
    #[arg(long, env = "LATCHKEY_KEY_PUBLISH_LEAD", value_name = "DURATION", default_value = "1h", value_parser = value::duration)]
    pub key_publish_lead: Duration,

    /// Time for which a key signs before its automatic successor takes over; 0 means until an
    /// operator rotates it
    #[arg(long, env = "LATCHKEY_KEY_ROTATION_INTERVAL", value_name = "DURATION", default_value = "90d", value_parser = value::duration)]
    pub key_rotation_interval: Duration,
}

impl KeysConfig {
    /// Checks the publish lead, the rotation interval, and the protection of private keys.
    ///
    /// # Errors
    /// The first conflict between settings, or a passphrase file that cannot be used.
    pub fn check(
        &self,
        jwks_max_age: Duration,
        longest_token: Duration,
    ) -> Result<(), ConfigError> {
        let propagation = PROPAGATION.to_std().unwrap_or_default();
        if self.key_publish_lead < jwks_max_age + propagation {
            return Err(ConfigError::new(
                "LATCHKEY_KEY_PUBLISH_LEAD",
                "is too short for LATCHKEY_JWKS_MAX_AGE, so keys would sign before clients have fetched them",
                "at least LATCHKEY_JWKS_MAX_AGE and 5s more, in which all instances load a new key",
            ));
        }
        self.check_interval(longest_token)?;
        self.check_protection()
    }

    /// Refuses an interval in which keys are created faster than they retire, as the key ring would
    /// grow without limit.
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

    /// Checks that private keys in the database are encrypted, and that the passphrase file is
    /// protected.
    ///
    /// # Errors
    /// If the passphrase file is missing although it is required, is a special file, or can be
    /// changed by other users.
    pub fn check_protection(&self) -> Result<(), ConfigError> {
        if self.keys == KeysPlace::Database && self.keys_passphrase_file.is_none() {
            return Err(ConfigError::new(
                "LATCHKEY_KEYS_PASSPHRASE_FILE",
                "is missing, but LATCHKEY_KEYS=database requires encrypted private keys",
                "a file with a passphrase, such as the output of `openssl rand -base64 32`",
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

    /// Time for which a key signs before its automatic successor takes over. `None` means that keys
    /// are rotated only by an operator.
    #[must_use]
    pub fn interval(&self) -> Option<TimeDelta> {
        (!self.key_rotation_interval.is_zero()).then(|| value::delta(self.key_rotation_interval))
    }
}
