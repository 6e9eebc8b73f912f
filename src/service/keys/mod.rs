//! What operators and the service itself do with signing keys: one change a file. Each reads the ring, decides, and writes only
//! if nobody else wrote meanwhile; who comes too late decides anew. So of many instances that find a key due, one makes it.

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

pub use import::{Import, Imported};
pub use revoke::{HANDOVER_DELAY, Revoked, Successor};
pub use rotate::Rotate;

use crate::{
    crypto::{
        key_pem,
        key_ring::KeyRing,
        passphrase::{Passphrase, PassphraseError, WrappingCost},
        signing_key::MaterialError,
    },
    domain::{
        audit::{Actor, AuditEvent, EventKind},
        keys::{KeyMetadata, MaxLifetimes},
    },
    ports::{AuditStore, Clock, KeyChange, KeyRecords, KeyStore, StoreError},
};

/// How often a change is decided anew because others were faster.
const ATTEMPTS: usize = 20;

/// What keys are made by.
#[derive(Clone, Copy, Debug)]
pub struct KeyRules {
    /// What access tokens are to be signed with.
    pub algorithm: Algorithm,
    /// How long a key is published before it signs.
    pub lead: TimeDelta,
    /// How long a key signs before the service itself makes its successor; `None`: it does not.
    pub interval: Option<TimeDelta>,
    /// How long tokens live.
    pub lives: MaxLifetimes,
    /// The cost of a guess at the passphrase.
    pub wrapping: WrappingCost,
}

/// The ring, for those who change it.
pub struct KeyManager {
    /// Who does it.
    pub actor: Actor,
    /// Who is told, where that can be reached.
    pub audit: Option<Arc<dyn AuditStore>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The keys that were opened; empty at first.
    pub opened: OpenedKeys,
    /// The file with what keys at rest are encrypted with. It is read when it is needed, so that it can be exchanged.
    pub passphrase: Option<PathBuf>,
    /// Settings.
    pub rules: KeyRules,
    /// Where the ring is.
    pub store: Arc<dyn KeyStore>,
}

/// Why the ring cannot be used, or was not changed. One line each.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// Keys that cannot be used: a line for each, the first of which is shown.
    #[error("{}", .0.first().map_or("no key", String::as_str))]
    Broken(Vec<String>),
    /// Others changed the ring at the same time, again and again.
    #[error("others change the keys at the same time: try again")]
    Busy,
    /// As many as there may be.
    #[error("there are {0} keys: remove those that are over with latchkey keys prune")]
    Full(usize),
    /// A key that is in the ring.
    #[error("the key {0} is there already")]
    Known(String),
    /// A key that was not taken.
    #[error("the key {0}")]
    Material(#[from] MaterialError),
    /// Only a secret is.
    #[error("refresh tokens are signed with a secret for HS256, and with nothing else")]
    NotForRefresh,
    /// No such key.
    #[error("there is no key {0}: latchkey keys list shows them")]
    NotFound(String),
    /// The passphrase.
    #[error("LATCHKEY_KEYS_PASSPHRASE_FILE: {path} {reason}", path = .0.display(), reason = .1)]
    Passphrase(PathBuf, PassphraseError),
    /// Private parts would lie in the database as they are.
    #[error(
        "LATCHKEY_KEYS_PASSPHRASE_FILE: is missing, and keys lie in the database only encrypted: a file with a passphrase, such as what `openssl rand -base64 32` prints"
    )]
    Unprotected,
    /// What failed a moment ago, and is not tried again yet.
    #[error("{0}")]
    Resting(String),
    /// A key that was revoked stays so.
    #[error("the key {0} was revoked, and is never used again")]
    Revoked(String),
    /// Where the ring is.
    #[error("{0}: {1}")]
    Store(&'static str, StoreError),
}

/// The ring as it lies in the store.
pub struct Opened {
    /// What the store says.
    pub records: KeyRecords,
    /// The keys that can be used.
    pub ring: KeyRing,
    /// What is wrong with the others, a line each.
    pub wrong: Vec<String>,
}

/// A cache of keys that were opened with a passphrase. Opening is slow on purpose, so unchanged keys are not opened
/// again. With another passphrase all keys are opened, to detect a passphrase that opens only some of them.
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

/// What is to be done, who is told, and what comes of it.
struct Plan<T> {
    changes: Vec<KeyChange>,
    events: Vec<AuditEvent>,
    outcome: T,
}

impl KeysError {
    /// All that is wrong, a line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Broken(lines) => lines.clone(),
            other => vec![other.to_string()],
        }
    }
}

impl KeyManager {
    /// The ring as it lies in the store, whatever is wrong with it. Keys that `known` has are not decrypted again.
    ///
    /// # Errors
    /// [`KeysError::Store`].
    pub async fn open(&self, known: &KeyRing) -> Result<Opened, KeysError> {
        self.opened(self.read().await?, known).await
    }

    /// The ring, all of whose keys can be used.
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

    /// What the store says, without opening a key.
    ///
    /// # Errors
    /// [`KeysError::Store`].
    pub async fn records(&self) -> Result<KeyRecords, KeysError> {
        self.read().await
    }

    /// Whether the text of a key is encrypted, by `kid`.
    #[must_use]
    pub fn encrypted(records: &KeyRecords) -> Vec<&str> {
        let encrypted = records
            .keys
            .iter()
            .filter(|key| key_pem::is_encrypted(key.text.expose_secret()));
        encrypted.map(|key| key.facts.kid.as_str()).collect()
    }

    /// Returns the `kid` of each key of which the service makes no successor by itself.
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

    /// A passphrase that cannot be read is one more thing that is wrong.
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
        // Decryption takes long on purpose, and this may be the thread that serves others.
        let opened = tokio::task::spawn_blocking(move || {
            let mut wrong = records.broken.clone();
            let mut keys = records.keys.clone();
            // Whoever can write a row could plant a key, without the passphrase.
            keys.retain(|key| {
                let fine = !sealed || key_pem::is_encrypted(key.text.expose_secret());
                if !fine {
                    wrong.push(format!(
                        "{}: is not encrypted: remove it, or put it back as it was",
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

    /// `None` when others were faster.
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

    /// Reads the passphrase for tasks that a weak one must not prevent: changing it, and revoking a key.
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

    /// Told afterwards: a key that has to go must go, whatever the database does.
    async fn audit(&self, events: Vec<AuditEvent>) {
        let Some(audit) = &self.audit else { return };
        let events: Vec<_> = events.into_iter().map(|event| (event, 1)).collect();
        if let Err(error) = audit.append(&events).await {
            tracing::warn!(%error, "the change of the keys is not in the audit trail");
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
