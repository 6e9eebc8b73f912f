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
    ports::Clock,
};

#[derive(Args, Debug)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Show the keys: what each does, and what it is waiting for
    List {
        #[command(flatten)]
        ring: RingArgs,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a new key; it signs once verifiers have had the time to see it
    #[command(
        after_help = "A change of algorithm is a rotation like any other: set LATCHKEY_ALGORITHM for the servers, too, and they make\n\
        the key themselves when they start."
    )]
    Rotate {
        #[command(flatten)]
        ring: RingArgs,
        /// The tokens that it is to sign
        #[arg(long = "use", value_name = "KIND", default_value = "access")]
        usage: Usage,
        /// Let it sign within seconds: verifiers that have not fetched the key set since then refuse its tokens
        #[arg(long)]
        now: bool,
    },
    /// Emergency: take a key out of the ring for ever; every token that it signed is refused within seconds
    #[command(
        after_help = "Offline verifiers that obey Cache-Control refuse its tokens after at most LATCHKEY_JWKS_MAX_AGE.\n\
        Users who were signed in by a revoked refresh secret sign in again."
    )]
    Revoke {
        #[command(flatten)]
        ring: RingArgs,
        /// The key, as `latchkey keys list` shows it
        #[arg(value_name = "KID", allow_hyphen_values = true)]
        kid: String,
    },
    /// Remove the keys whose tokens have all expired
    Prune(RingArgs),
    /// Take in a private key (PEM, DER, JWK or OpenSSH) of RSA, P-256, P-384 or Ed25519, or with --as HS256 a shared secret
    Import {
        #[command(flatten)]
        ring: RingArgs,
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// What it signs with; without it, the usual algorithm for such a key: RS256 for RSA, and so on
        #[arg(long = "as", id = "as", value_name = "NAME")]
        algorithm: Option<Algorithm>,
        /// The tokens that it is to sign
        #[arg(long = "use", value_name = "KIND", default_value = "access")]
        usage: Usage,
        /// Let it sign within seconds, because verifiers know it already. Otherwise, it signs after the publish lead
        #[arg(long)]
        now: bool,
        /// Replace it by a new random key after the rotation interval; services that share the key need the new one
        #[arg(long)]
        rotate: bool,
        /// A file with the passphrase of the key
        #[arg(long, value_name = "PATH")]
        passphrase_file: Option<PathBuf>,
    },
    /// Print public keys, for verifiers that do not fetch them
    Export {
        #[command(flatten)]
        ring: RingArgs,
        /// Only public parts are ever printed; this says that you know
        #[arg(long, required = true)]
        public: bool,
        /// Only this key
        #[arg(long, value_name = "KID", allow_hyphen_values = true)]
        kid: Option<String>,
        /// As a JSON Web Key (a key set, without --kid) or as PEM
        #[arg(long, value_name = "FORMAT", default_value = "jwk")]
        format: Format,
    },
    /// Encrypt all keys with another passphrase; the keys stay the same
    #[command(
        after_help = "Afterwards put the new passphrase into LATCHKEY_KEYS_PASSPHRASE_FILE: running servers keep their keys\n\
        meanwhile, and take the file over when it changes."
    )]
    Rewrap {
        #[command(flatten)]
        ring: RingArgs,
        #[command(flatten)]
        with: Wrapping,
    },
}

/// The settings of the ring.
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
    /// A file with the new passphrase, at least 16 characters
    #[arg(long, value_name = "PATH")]
    new_passphrase_file: Option<PathBuf>,
    /// Not encrypted any more
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

    /// What servers check when they start: a key that signs too early is refused.
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

    /// Returns the absolute path of the directory.
    fn absolute(&self) -> PathBuf {
        absolute(&self.keys.keys_dir).unwrap_or_else(|_| self.keys.keys_dir.clone())
    }

    /// Names the place of the keys that were changed, and the gap in the audit trail if there is one.
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
            change::rotate(&ring, usage.into(), now, clock).await?
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
            change::rewrap(&ring, with.new_passphrase_file.as_deref(), clock).await?
        }
    }
    Ok(ExitCode::SUCCESS)
}
