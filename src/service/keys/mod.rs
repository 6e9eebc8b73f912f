//! What operators and the service itself do with signing keys: one change a file. Each reads the ring, decides, and writes only
//! if nobody else wrote meanwhile; who comes too late decides anew. So of many instances that find a key due, one makes it.

mod import;
mod make;
mod prune;
mod revoke;
mod rewrap;
mod rotate;
pub mod watch;

use std::{path::PathBuf, sync::Arc};

use chrono::TimeDelta;
use latchkey_verifier::Algorithm;
use secrecy::ExposeSecret as _;

pub use import::Import;
pub use revoke::Successor;
pub use rotate::Rotate;

use crate::{
    crypto::{
        key_text,
        keyring::{Keyring, TokenLives},
        passphrase::{Passphrase, PassphraseError},
        signing_key::MaterialError,
    },
    domain::{
        audit::{Actor, AuditEvent, EventKind},
        keys::KeyFacts,
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
    pub lives: TokenLives,
}

/// The ring, for those who change it.
pub struct KeyManager {
    /// Who does it.
    pub actor: Actor,
    /// Who is told, where that can be reached.
    pub audit: Option<Arc<dyn AuditStore>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
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
    #[error("{setting}: {first}", setting = .0, first = .1.first().map_or("no key", String::as_str))]
    Broken(&'static str, Vec<String>),
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
    /// The keys that can be used: all of them, or none.
    pub ring: Keyring,
    /// What is wrong, a line each.
    pub wrong: Vec<String>,
}

/// What is to be done, who is told, and what comes of it.
struct Plan<T> {
    changes: Vec<KeyChange>,
    events: Vec<AuditEvent>,
    outcome: T,
}

impl KeyManager {
    /// The ring as it lies in the store, whatever is wrong with it.
    ///
    /// # Errors
    /// [`KeysError::Store`], [`KeysError::Passphrase`].
    pub async fn open(&self, known: &Keyring) -> Result<Opened, KeysError> {
        let records = self.store.read().await.map_err(|error| self.failed(error))?;
        let passphrases: Vec<Passphrase> = self.passphrase()?.into_iter().collect();
        self.opened(records, passphrases, known).await
    }

    /// The ring, all of whose keys can be used.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn ring(&self) -> Result<Keyring, KeysError> {
        let Opened { ring, wrong, .. } = self.open(&Keyring::default()).await?;
        self.sound(&wrong)?;
        Ok(ring)
    }

    /// Whether the text of a key is encrypted, by `kid`.
    #[must_use]
    pub fn encrypted(records: &KeyRecords) -> Vec<&str> {
        let encrypted = records.keys.iter().filter(|key| key_text::is_encrypted(key.text.expose_secret()));
        encrypted.map(|key| key.facts.kid.as_str()).collect()
    }

    async fn opened(
        &self,
        records: KeyRecords,
        passphrases: Vec<Passphrase>,
        known: &Keyring,
    ) -> Result<Opened, KeysError> {
        let known = known.clone();
        // Decryption takes long on purpose, and this may be the thread that serves others.
        let opened = tokio::task::spawn_blocking(move || {
            let (ring, wrong) = match Keyring::open(&records.keys, &passphrases, &known) {
                Ok(ring) => (ring, Vec::new()),
                Err(wrong) => (Keyring::default(), wrong),
            };
            let wrong = records.broken.iter().cloned().chain(wrong).collect();
            Opened { records, ring, wrong }
        });
        opened.await.map_err(|error| self.failed(StoreError::Failed(error.to_string())))
    }

    async fn change<T>(
        &self,
        decide: impl Fn(&Opened, Option<&Passphrase>) -> Result<Plan<T>, KeysError>,
    ) -> Result<T, KeysError> {
        for _ in 0..ATTEMPTS {
            let passphrase = self.passphrase()?;
            let opened = self.open(&Keyring::default()).await?;
            let Plan { changes, events, outcome } = decide(&opened, passphrase.as_ref())?;
            if changes.is_empty() {
                return Ok(outcome);
            }
            if self.carry_out(&opened.records.version, &changes, events).await? {
                return Ok(outcome);
            }
        }
        Err(KeysError::Busy)
    }

    /// Does it and tells of it, if nobody else changed the ring meanwhile.
    async fn carry_out(&self, seen: &str, changes: &[KeyChange], events: Vec<AuditEvent>) -> Result<bool, KeysError> {
        let done = self.store.change(seen, changes).await.map_err(|error| self.failed(error))?;
        if done {
            self.tell(events).await;
        }
        Ok(done)
    }

    fn sound(&self, wrong: &[String]) -> Result<(), KeysError> {
        if wrong.is_empty() { Ok(()) } else { Err(KeysError::Broken(self.store.setting(), wrong.to_vec())) }
    }

    fn passphrase(&self) -> Result<Option<Passphrase>, KeysError> {
        let read =
            |path: &PathBuf| Passphrase::from_file(path).map_err(|error| KeysError::Passphrase(path.clone(), error));
        self.passphrase.as_ref().map(read).transpose()
    }

    /// Told afterwards: a key that has to go must go, whatever the database does.
    async fn tell(&self, events: Vec<AuditEvent>) {
        let Some(audit) = &self.audit else { return };
        let events: Vec<_> = events.into_iter().map(|event| (event, 1)).collect();
        if let Err(error) = audit.append(&events).await {
            tracing::warn!(%error, "the change of the keys is not in the audit trail");
        }
    }

    fn event(&self, kind: EventKind, facts: &KeyFacts) -> AuditEvent {
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
        Self { changes: Vec::new(), events: Vec::new(), outcome }
    }
}

#[cfg(test)]
mod tests;
