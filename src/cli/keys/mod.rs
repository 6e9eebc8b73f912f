//! `latchkey keys`.

mod change;
mod export;
mod list;

use std::{
    path::{PathBuf, absolute},
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, Subcommand, ValueEnum};
use latchkey_verifier::{Algorithm, Kind};

use super::{Failure, OperatorArgs, bare_command, changed, from_environment, output};
use crate::{
    app::keys::KeysSettings,
    config::{DatabaseConfig, HttpConfig, KeysConfig, LifetimesConfig, keys::KeysPlace},
};
use latchkey_domain::ports::Clock;

#[derive(Args, Debug)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// List signing keys and their state
    List {
        #[command(flatten)]
        ring: RingArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Create a new key, which signs after the publish lead
    #[command(
        after_help = "A change of the algorithm is a rotation as well. Set LATCHKEY_ALGORITHM for the servers, too: they create the key themselves when they start."
    )]
    Rotate {
        #[command(flatten)]
        ring: RingArgs,
        /// Type of the tokens that the key signs
        #[arg(long = "use", value_name = "KIND", default_value = "access")]
        usage: Usage,
        /// Sign with the key within seconds; verifiers refuse its tokens until they fetch the key
        /// set again
        #[arg(long)]
        now: bool,
    },
    /// Revoke a key for ever, in an emergency: all its tokens are refused within seconds
    #[command(
        after_help = "Offline verifiers that obey Cache-Control refuse its tokens after at most LATCHKEY_JWKS_MAX_AGE. After the revocation of a refresh secret, its users must sign in again."
    )]
    Revoke {
        #[command(flatten)]
        ring: RingArgs,
        /// Key id, from `latchkey keys list`
        #[arg(value_name = "KID", allow_hyphen_values = true)]
        kid: String,
    },
    /// Remove the keys whose tokens have all expired
    Prune(RingArgs),
    /// Import a private key (PEM, DER, JWK or OpenSSH) of RSA, P-256, P-384 or Ed25519, or with
    /// --as HS256 a shared secret
    Import {
        #[command(flatten)]
        ring: RingArgs,
        /// File with the key
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Signing algorithm; by default, the usual one for the type of the key, such as RS256 for
        /// RSA
        #[arg(long = "as", id = "as", value_name = "NAME")]
        algorithm: Option<Algorithm>,
        /// Type of the tokens that the key signs
        #[arg(long = "use", value_name = "KIND", default_value = "access")]
        usage: Usage,
        /// Sign with the key within seconds, because verifiers have it already; otherwise, it signs
        /// after the publish lead
        #[arg(long)]
        now: bool,
        /// Replace the key with a new random one after the rotation interval; services that share
        /// it need the new one
        #[arg(long)]
        rotate: bool,
        /// File with the passphrase of the key
        #[arg(long, value_name = "PATH")]
        passphrase_file: Option<PathBuf>,
    },
    /// Print public keys, for verifiers that do not fetch the key set
    Export {
        #[command(flatten)]
        ring: RingArgs,
        /// Confirm that only public keys are printed
        #[arg(long, required = true)]
        public: bool,
        /// Only the key with this id
        #[arg(long, value_name = "KID", allow_hyphen_values = true)]
        kid: Option<String>,
        /// Format: a JSON Web Key (without --kid, a key set), or PEM
        #[arg(long, value_name = "FORMAT", default_value = "jwk")]
        format: Format,
    },
    /// Encrypt all keys with another passphrase, without changing the keys
    #[command(
        after_help = "Afterwards, put the new passphrase into the file LATCHKEY_KEYS_PASSPHRASE_FILE. Running servers keep their keys, and read the file again when it changes."
    )]
    Rewrap {
        #[command(flatten)]
        ring: RingArgs,
        #[command(flatten)]
        with: Wrapping,
    },
}

/// Settings of the key ring.
#[derive(Args, Debug)]
struct RingArgs {
    #[command(flatten)]
    keys: KeysConfig,
    #[command(flatten)]
    database: DatabaseConfig,
    #[command(flatten)]
    lifetimes: LifetimesConfig,
    #[command(flatten)]
    operator: OperatorArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Usage {
    Access,
    Refresh,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Jwk,
    Pem,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Wrapping {
    /// File with the new passphrase, at least 16 characters
    #[arg(long, value_name = "PATH")]
    new_passphrase_file: Option<PathBuf>,
    /// Store the keys without encryption
    #[arg(long)]
    plain: bool,
}

impl RingArgs {
    fn settings(&self) -> KeysSettings<'_> {
        let Self {
            keys,
            database,
            lifetimes,
            operator,
        } = self;
        KeysSettings {
            keys,
            database,
            lifetimes,
            actor: operator.actor(),
        }
    }

    /// Checks the settings as a server does at the start, such as the publish lead.
    fn check(&self) -> Result<(), Failure> {
        let http: HttpConfig = from_environment(&HttpConfig::augment_args(bare_command()))?;
        Ok(self
            .keys
            .check(http.jwks_max_age, self.lifetimes.refresh_token_lifetime)?)
    }

    fn place(&self) -> String {
        match self.keys.keys {
            KeysPlace::Database => "the database".to_owned(),
            KeysPlace::Directory => self.keys.keys_dir.display().to_string(),
        }
    }

    /// Returns the absolute path of the key directory.
    fn absolute(&self) -> PathBuf {
        absolute(&self.keys.keys_dir).unwrap_or_else(|_| self.keys.keys_dir.clone())
    }

    /// Prints the store of the keys that were changed, and a note if the change is not in the audit
    /// trail.
    fn changed(&self) -> Result<(), Failure> {
        if self.keys.keys == KeysPlace::Database {
            return changed(&self.database);
        }
        output::line(&format!("keys: {}", self.absolute().display()));
        if self.database.is_missing()
            && let Err(missing) = self.database.existing()
        {
            output::line(&format!("not in the audit trail: {missing}"));
        }
        Ok(())
    }
}

impl From<Usage> for Kind {
    fn from(usage: Usage) -> Self {
        match usage {
            Usage::Access => Self::Access,
            Usage::Refresh => Self::Refresh,
        }
    }
}

pub(super) async fn run(arguments: KeysArgs, clock: Arc<dyn Clock>) -> Result<ExitCode, Failure> {
    match arguments.command {
        KeysCommand::List { ring, json } => return list::run(&ring, json, clock).await,
        KeysCommand::Rotate { ring, usage, now } => {
            change::rotate(&ring, usage.into(), now, clock).await?;
        }
        KeysCommand::Revoke { ring, kid } => change::revoke(&ring, &kid, clock).await?,
        KeysCommand::Prune(ring) => change::prune(&ring, clock).await?,
        KeysCommand::Import {
            ring,
            file,
            algorithm,
            usage,
            now,
            rotate,
            passphrase_file,
        } => {
            let foreign = change::Foreign {
                file,
                algorithm,
                kind: usage.into(),
                now,
                rotate,
                passphrase_file,
            };
            change::import(&ring, &foreign, clock).await?;
        }
        KeysCommand::Export {
            ring,
            kid,
            format,
            public: _,
        } => {
            export::run(&ring, kid.as_deref(), format, clock).await?;
        }
        KeysCommand::Rewrap { ring, with } => {
            change::rewrap(&ring, with.new_passphrase_file.as_deref(), clock).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
