//! Changes of signing keys by operators and by the service, one per file.
//!
//! Each change reads the key ring, decides, and writes only if the ring has not changed since
//! (optimistic locking). After a conflict it starts again. So if several instances find that a key
//! is due, one of them creates it.

mod active_keys;
mod generate;
mod import;
mod prune;
mod revoke;
mod rewrap;
mod rotate;
pub mod watch;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use chrono::TimeDelta;
use latchkey_verifier::Algorithm;
use secrecy::ExposeSecret as _;

pub use active_keys::ActiveKeys;
pub use import::{Import, Imported};
pub use revoke::{HANDOVER_DELAY, Revoked, Successor};
pub use rotate::Rotate;

use latchkey_crypto::{
    key_pem,
    key_ring::KeyRing,
    passphrase::{Passphrase, PassphraseError, WrappingCost},
    signing_key::MaterialError,
};
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind},
    keys::{KeyMetadata, MaxLifetimes},
    ports::{AuditStore, Clock, KeyChange, KeyRecords, KeyStore, StoreError},
};

/// Attempts at a change that conflicts with other changes.
const ATTEMPTS: usize = 20;

/// Settings for keys.
#[derive(Clone, Copy, Debug)]
pub struct KeyRules {
    /// Signature algorithm of access tokens.
    pub algorithm: Algorithm,
    /// Publish lead: the time for which a key is published before it signs.
    pub lead: TimeDelta,
    /// Time for which a key signs before the service creates its successor. `None` disables the
    /// rotation.
    pub interval: Option<TimeDelta>,
    /// Maximum lifetimes of tokens.
    pub lives: MaxLifetimes,
    /// The cost of a guess at the passphrase.
    pub wrapping: WrappingCost,
}

/// Key ring with write access.
pub struct KeyManager {
    /// Actor of the audit events.
    pub actor: Actor,
    /// Audit store, if it can be reached.
    pub audit: Option<Arc<dyn AuditStore>>,
    /// Clock of this process.
    pub clock: Arc<dyn Clock>,
    /// Cache of decrypted keys, empty at first.
    pub opened: OpenedKeys,
    /// File with the passphrase that encrypts stored keys. It is read at each use, so that it can
    /// be replaced.
    pub passphrase: Option<PathBuf>,
    /// Settings.
    pub rules: KeyRules,
    /// Key store.
    pub store: Arc<dyn KeyStore>,
}

/// Reason for which the key ring cannot be used or was not changed. The texts are single lines.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// Keys that cannot be used, one line each. `Display` shows the first.
    #[error("{}", .0.first().map_or("no key", String::as_str))]
    Broken(Vec<String>),
    /// Each attempt conflicted with a change by another process.
    #[error("the keys were changed concurrently: try again")]
    Busy,
    /// The key ring is full.
    #[error("the key ring is full ({0} keys): remove expired keys with latchkey keys prune")]
    Full(usize),
    /// The key is already in the key ring.
    #[error("the key {0} already exists")]
    Known(String),
    /// The key material was rejected.
    #[error("the key {0}")]
    Material(#[from] MaterialError),
    /// Refresh tokens cannot be signed with a key of this type.
    #[error("refresh tokens can only be signed with a secret for HS256")]
    NotForRefresh,
    /// No such key.
    #[error("there is no key {0}: list the keys with latchkey keys list")]
    NotFound(String),
    /// The passphrase cannot be used.
    #[error("LATCHKEY_KEYS_PASSPHRASE_FILE: {path} {reason}", path = .0.display(), reason = .1)]
    Passphrase(PathBuf, PassphraseError),
    /// There is no passphrase, so that private keys would be stored unencrypted in the database.
    #[error(
        "LATCHKEY_KEYS_PASSPHRASE_FILE: is missing, but keys in the database must be encrypted: set it to a file with a passphrase, such as the output of `openssl rand -base64 32`"
    )]
    Unprotected,
    /// A recent failure, which is repeated until the back-off ends.
    #[error("{0}")]
    Resting(String),
    /// The key was revoked, which is final.
    #[error("the key {0} was revoked and cannot be used again")]
    Revoked(String),
    /// Failure of the key store.
    #[error("{0}: {1}")]
    Store(&'static str, StoreError),
}

/// Key ring as read from the store.
pub struct Opened {
    /// Records of the store.
    pub records: KeyRecords,
    /// Usable keys.
    pub ring: KeyRing,
    /// Faults of the other keys, one line each.
    pub wrong: Vec<String>,
}

/// Cache of decrypted keys. Decryption is slow on purpose, so unchanged keys are not decrypted
/// again. With another passphrase all keys are decrypted, to detect a passphrase that fits only
/// some of them.
#[derive(Debug, Default)]
pub struct OpenedKeys(Mutex<(Vec<Passphrase>, KeyRing)>);

impl OpenedKeys {
    fn with(&self, passphrases: &[Passphrase], known: &KeyRing) -> KeyRing {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0 == passphrases {
            known.with(&kept.1)
        } else {
            known.clone()
        }
    }

    fn keep(&self, passphrases: Vec<Passphrase>, ring: &KeyRing) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (passphrases, ring.clone());
    }
}

/// Changes to be written, their audit events, and the result for the caller.
struct Plan<T> {
    changes: Vec<KeyChange>,
    events: Vec<AuditEvent>,
    outcome: T,
}

impl KeysError {
    /// Returns all faults, one line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Broken(lines) => lines.clone(),
            other => vec![other.to_string()],
        }
    }
}

impl KeyManager {
    /// Reads the key ring, including its faults. Keys in `known` are not decrypted again.
    ///
    /// # Errors
    /// [`KeysError::Store`].
    pub async fn open(&self, known: &KeyRing) -> Result<Opened, KeysError> {
        self.opened(self.read().await?, known).await
    }

    /// Returns the key ring if all of its keys can be used.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn ring(&self) -> Result<KeyRing, KeysError> {
        let passphrase = self.passphrase()?;
        let Opened { ring, wrong, .. } = self
            .opened_with(self.read().await?, passphrase, &KeyRing::default())
            .await?;
        ensure_usable(&wrong)?;
        Ok(ring)
    }

    /// Returns the records of the store without decrypting a key.
    ///
    /// # Errors
    /// [`KeysError::Store`].
    pub async fn records(&self) -> Result<KeyRecords, KeysError> {
        self.read().await
    }

    /// Returns the `kid` of each key whose text is encrypted.
    #[must_use]
    pub fn encrypted(records: &KeyRecords) -> Vec<&str> {
        let encrypted = records
            .keys
            .iter()
            .filter(|key| key_pem::is_encrypted(key.text.expose_secret()));
        encrypted.map(|key| key.facts.kid.as_str()).collect()
    }

    /// Returns the `kid` of each key that the service does not rotate automatically.
    #[must_use]
    pub fn successor_by_hand(records: &KeyRecords) -> Vec<&str> {
        let by_hand = records
            .keys
            .iter()
            .filter(|key| key_pem::has_successor_by_hand(key.text.expose_secret()));
        by_hand.map(|key| key.facts.kid.as_str()).collect()
    }

    async fn read(&self) -> Result<KeyRecords, KeysError> {
        self.store.read().await.map_err(|error| self.failed(error))
    }

    /// Decrypts the keys. An unreadable passphrase is reported as one more fault.
    async fn opened(&self, records: KeyRecords, known: &KeyRing) -> Result<Opened, KeysError> {
        match self.passphrase() {
            Ok(passphrase) => self.opened_with(records, passphrase, known).await,
            Err(error) => {
                let weak = self.passphrase_to_open().unwrap_or_default();
                let mut opened = self.opened_with(records, weak, known).await?;
                opened.wrong.insert(0, error.to_string());
                Ok(opened)
            }
        }
    }

    async fn opened_with(
        &self,
        records: KeyRecords,
        passphrases: impl IntoIterator<Item = Passphrase>,
        known: &KeyRing,
    ) -> Result<Opened, KeysError> {
        let (passphrases, sealed) = (
            passphrases.into_iter().collect::<Vec<_>>(),
            self.store.wants_encryption(),
        );
        let (known, setting) = (self.opened.with(&passphrases, known), self.store.setting());
        let used = passphrases.clone();
        // Decryption is slow on purpose, so it must not block the async runtime.
        let opened = tokio::task::spawn_blocking(move || {
            let mut wrong = records.broken.clone();
            let mut keys = records.keys.clone();
            // Otherwise write access to the table would be enough to plant a key, without the
            // passphrase.
            keys.retain(|key| {
                let fine = !sealed || key_pem::is_encrypted(key.text.expose_secret());
                if !fine {
                    wrong.push(format!(
                        "{}: is not encrypted: remove it or restore the encrypted key",
                        key.place
                    ));
                }
                fine
            });
            let (ring, unusable) = KeyRing::open(&keys, &passphrases, &known);
            wrong.extend(unusable);
            let wrong = wrong
                .into_iter()
                .map(|line| format!("{setting}: {line}"))
                .collect();
            Opened {
                records,
                ring,
                wrong,
            }
        });
        let opened = opened
            .await
            .map_err(|error| self.failed(StoreError::Failed(error.to_string())))?;
        self.opened.keep(used, &opened.ring);
        Ok(opened)
    }

    async fn change<T>(
        &self,
        decide: impl Fn(&Opened, Option<&Passphrase>) -> Result<Plan<T>, KeysError>,
    ) -> Result<T, KeysError> {
        for _ in 0..ATTEMPTS {
            let passphrase = self.passphrase()?;
            let opened = self
                .opened_with(self.read().await?, passphrase.clone(), &KeyRing::default())
                .await?;
            ensure_usable(&opened.wrong)?;
            if let Some(outcome) = self
                .attempt(&opened.records, decide(&opened, passphrase.as_ref())?)
                .await?
            {
                return Ok(outcome);
            }
        }
        Err(KeysError::Busy)
    }

    /// Writes the changes. Returns `None` if another process changed the ring since it was read.
    async fn attempt<T>(&self, seen: &KeyRecords, plan: Plan<T>) -> Result<Option<T>, KeysError> {
        let Plan {
            changes,
            events,
            outcome,
        } = plan;
        if changes.is_empty() {
            return Ok(Some(outcome));
        }
        if !self
            .store
            .change(&seen.version, &changes)
            .await
            .map_err(|error| self.failed(error))?
        {
            return Ok(None);
        }
        self.audit(events).await;
        Ok(Some(outcome))
    }

    fn passphrase(&self) -> Result<Option<Passphrase>, KeysError> {
        self.passphrase_by(Passphrase::from_file)
    }

    /// Reads the passphrase without a check of its strength, which must not prevent changing the
    /// passphrase or revoking a key.
    fn passphrase_to_open(&self) -> Result<Option<Passphrase>, KeysError> {
        self.passphrase_by(Passphrase::from_file_to_open)
    }

    fn passphrase_by(
        &self,
        read: impl Fn(&Path) -> Result<Passphrase, PassphraseError>,
    ) -> Result<Option<Passphrase>, KeysError> {
        let read = |path: &PathBuf| match read(path) {
            Ok(passphrase) => Ok(passphrase.at(self.rules.wrapping)),
            Err(error) => Err(KeysError::Passphrase(path.clone(), error)),
        };
        self.passphrase.as_ref().map(read).transpose()
    }

    /// Records the events after the change: an unavailable audit trail must not prevent a key's
    /// removal.
    async fn audit(&self, events: Vec<AuditEvent>) {
        let Some(audit) = &self.audit else { return };
        let events: Vec<_> = events.into_iter().map(|event| (event, 1)).collect();
        if let Err(error) = audit.append(&events).await {
            tracing::warn!(%error, "change of the keys is missing in the audit trail");
        }
    }

    fn event(&self, kind: EventKind, facts: &KeyMetadata) -> AuditEvent {
        AuditEvent::new(self.clock.now(), kind, self.actor.clone())
            .with("kid", &facts.kid)
            .with("token", facts.kind.token_type())
            .with("algorithm", facts.algorithm.name())
            .with("signs_from", facts.signs_from.to_rfc3339())
    }

    fn failed(&self, error: StoreError) -> KeysError {
        KeysError::Store(self.store.setting(), error)
    }
}

impl<T> Plan<T> {
    const fn nothing(outcome: T) -> Self {
        Self {
            changes: Vec::new(),
            events: Vec::new(),
            outcome,
        }
    }
}

fn ensure_usable(wrong: &[String]) -> Result<(), KeysError> {
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(KeysError::Broken(wrong.to_vec()))
    }
}
