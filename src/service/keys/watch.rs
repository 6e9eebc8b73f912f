//! Every instance looks once a second whether the ring changed, and puts the new one into force.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, sync::Arc};

use latchkey_verifier::Kind;
use tokio::sync::Mutex;

use super::{KeyManager, KeysError, Opened};
use crate::{crypto::keyring::Keyring, ports::KeyRecords, service::in_force::KeysInForce};

/// Keeps the ring in force what it should be.
pub struct KeyWatch {
    in_force: Arc<KeysInForce>,
    manager: KeyManager,
    seen: Mutex<Seen>,
}

/// The version of the last look, and what was wrong with it.
#[derive(Default)]
struct Seen {
    version: Option<String>,
    wrong: Vec<String>,
}

impl KeyWatch {
    /// A watch that puts what `manager` finds into `in_force`.
    #[must_use]
    pub fn new(manager: KeyManager, in_force: Arc<KeysInForce>) -> Self {
        Self { in_force, manager, seen: Mutex::default() }
    }

    /// Looks once: takes a changed ring over, and makes and removes what is due. A ring that cannot be used is not taken over, apart
    /// from what was revoked in it: the one in force stays. Run it every second.
    ///
    /// # Errors
    /// What is wrong with the ring in the store, or with the store.
    pub async fn look(&self) -> Result<(), KeysError> {
        let mut seen = self.seen.lock().await;
        let outcome = self.take_over(&mut seen).await;
        // A database that is away is no broken ring.
        self.in_force.note_broken(matches!(outcome, Err(KeysError::Broken(..) | KeysError::Passphrase(..))));
        outcome?;
        self.keep().await
    }

    async fn take_over(&self, seen: &mut Seen) -> Result<(), KeysError> {
        let store = &self.manager.store;
        let version = store.version().await.map_err(|error| self.manager.failed(error))?;
        // Another passphrase may be what a ring waits for that could not be read.
        let version = format!("{version} {}", self.manager.passphrase.as_deref().map(state_of).unwrap_or_default());
        if seen.version.as_ref() == Some(&version) {
            return self.manager.sound(&seen.wrong);
        }
        let known = self.in_force.current().ring.clone();
        let Opened { records, ring, mut wrong } = match self.manager.open(&known).await {
            Ok(opened) => opened,
            Err(error @ KeysError::Passphrase(..)) => {
                let records = store.read().await.map_err(|error| self.manager.failed(error))?;
                self.bury(&records, &known)?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        if wrong.is_empty() && [Kind::Access, Kind::Refresh].iter().any(|kind| ring.newest(*kind).is_none()) {
            wrong.push("there is no key to sign with: put the keys back, or restart to make new ones".to_owned());
        }
        if wrong.is_empty() {
            self.put(ring, &known)?;
            *seen = Seen { version: Some(version), wrong };
            return Ok(());
        }
        self.bury(&records, &known)?;
        *seen = Seen { version: Some(version), wrong };
        self.manager.sound(&seen.wrong)
    }

    /// A key that has to go must go, whatever is wrong with another.
    fn bury(&self, records: &KeyRecords, known: &Keyring) -> Result<(), KeysError> {
        let is_dead = |kid: &str| records.revoked.iter().any(|dead| dead.facts.kid == kid);
        if known.keys().any(|key| is_dead(&key.facts.kid)) {
            self.put(known.without(|facts| is_dead(&facts.kid)), known)?;
        }
        Ok(())
    }

    /// What has to be done because its time has come; the next look takes it over.
    async fn keep(&self) -> Result<(), KeysError> {
        let ring = self.in_force.current().ring.clone();
        if self.manager.is_due(&ring) {
            for made in self.manager.rotate_what_is_due().await? {
                tracing::info!(kid = made.kid, token = made.kind.token_type(), signs_from = %made.signs_from, "a key was made");
            }
        }
        if self.manager.has_prunable(&ring) {
            for pruned in self.manager.prune_cautiously().await? {
                tracing::info!(
                    kid = pruned.kid,
                    token = pruned.kind.token_type(),
                    "a key was removed: its tokens have expired"
                );
            }
        }
        Ok(())
    }

    fn put(&self, ring: Keyring, known: &Keyring) -> Result<(), KeysError> {
        let new = ring.keys().filter(|key| known.find(&key.facts.kid).is_none());
        let news: Vec<_> = new.map(|key| key.facts.clone()).collect();
        let gone: Vec<_> =
            known.keys().filter(|key| ring.find(&key.facts.kid).is_none()).map(|key| key.facts.kid.clone()).collect();
        let setting = self.manager.store.setting();
        self.in_force.put(ring).map_err(|error| KeysError::Broken(setting, vec![error.to_string()]))?;
        for facts in news {
            tracing::info!(kid = facts.kid, token = facts.kind.token_type(), signs_from = %facts.signs_from, "a key was added");
        }
        for kid in gone {
            tracing::info!(kid, "a key is gone: its tokens are refused");
        }
        Ok(())
    }
}

/// Changes when the file does.
fn state_of(path: &Path) -> String {
    let state = |file: fs::Metadata| format!("{} {} {}.{}", file.ino(), file.len(), file.mtime(), file.mtime_nsec());
    fs::metadata(path).map(state).unwrap_or_default()
}
