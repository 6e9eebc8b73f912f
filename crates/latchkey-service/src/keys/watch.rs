//! Synchronisation of the active keys with the stored key ring, once a second.

use std::sync::Arc;

use chrono::TimeDelta;
use latchkey_verifier::Kind;
use tokio::sync::Mutex;

use super::ActiveKeys;
use super::{KeyManager, KeysError, ensure_usable};
use latchkey_crypto::{key_ring::KeyRing, passphrase};
use latchkey_domain::{
    keys::{KeyMetadata, saturating_add},
    ports::{KeyRecords, StoreError},
    time::Moment,
};

/// Time after which a faulty ring is read again, because the fault may have been in the reading.
const RETRY_INTERVAL: TimeDelta = TimeDelta::seconds(5);

/// Back-off after a failed creation or removal. Creating a key is expensive, and a read-only
/// directory usually stays so.
const BACKOFF: TimeDelta = TimeDelta::minutes(1);

/// Task that keeps the active keys up to date.
pub struct KeyWatch {
    failed: Mutex<Option<(Moment, String)>>,
    in_force: Arc<ActiveKeys>,
    manager: KeyManager,
    seen: Mutex<Seen>,
}

/// State of the last read, with its faults.
#[derive(Default)]
struct Seen {
    version: Option<String>,
    faults: Vec<String>,
    read_at: Option<Moment>,
}

impl KeyWatch {
    /// Returns a task that updates `in_force` with the keys of `manager`.
    #[must_use]
    pub fn new(manager: KeyManager, in_force: Arc<ActiveKeys>) -> Self {
        // The active keys were read just before.
        in_force.record_read(manager.clock.now());
        Self {
            failed: Mutex::default(),
            in_force,
            manager,
            seen: Mutex::default(),
        }
    }

    /// Reads the store, and activates a changed ring. From a faulty ring, revocations and usable
    /// keys are adopted, and all other active keys remain. To be called every second.
    ///
    /// # Errors
    /// Faults of the stored ring, or a failure of the store.
    pub async fn poll(&self) -> Result<(), KeysError> {
        let mut seen = self.seen.lock().await;
        let outcome = self.activate(&mut seen).await;
        // An unavailable database does not make the ring faulty.
        self.in_force.record_broken(!matches!(
            outcome,
            Ok(()) | Err(KeysError::Store(_, StoreError::Unavailable(_)))
        ));
        outcome
    }

    /// Creates keys that are due and removes expired ones. The next call of [`poll`](Self::poll)
    /// activates the change. To be called every second, in a task separate from `poll`, because it
    /// may wait for locks.
    ///
    /// # Errors
    /// Failure of the creation or removal, which is not attempted again during the back-off of one
    /// minute.
    pub async fn keep(&self) -> Result<(), KeysError> {
        let mut failed = self.failed.lock().await;
        let now = self.manager.clock.now();
        if let Some((at, error)) = failed.as_ref()
            && now < saturating_add(*at, BACKOFF)
        {
            return Err(KeysError::Resting(error.clone()));
        }
        let outcome = self.rotate_if_due().await;
        *failed = outcome.as_ref().err().map(|error| (now, error.to_string()));
        self.in_force.record_overdue(failed.is_some());
        outcome
    }

    async fn activate(&self, seen: &mut Seen) -> Result<(), KeysError> {
        let store = &self.manager.store;
        let version = store
            .version()
            .await
            .map_err(|error| self.manager.failed(error))?;
        // A new passphrase may make an unreadable ring readable.
        let passphrase = self
            .manager
            .passphrase
            .as_deref()
            .map(passphrase::version)
            .unwrap_or_default();
        let version = format!("{version} {passphrase}");
        let now = self.manager.clock.now();
        let up_to_date = seen.faults.is_empty()
            || seen
                .read_at
                .is_some_and(|read| now < saturating_add(read, RETRY_INTERVAL));
        if seen.version.as_ref() == Some(&version) && up_to_date {
            self.in_force.record_read(now);
            return ensure_usable(&seen.faults);
        }
        let records = self.manager.read().await?;
        // Revocations come first, regardless of faults in the ring.
        self.drop_revoked(&records)?;
        self.in_force.record_read(now);
        let known = self.in_force.current().ring.clone();
        let opened = self.manager.opened(records, &known).await?;
        let mut faults = opened.wrong;
        let lacks = |kind: &Kind| opened.ring.newest(*kind).is_none();
        if faults.is_empty() && [Kind::Access, Kind::Refresh].iter().any(lacks) {
            let setting = store.setting();
            faults.push(format!(
                "{setting}: no signing key: restore the keys, or restart the server to create new ones"
            ));
        }
        if faults.is_empty() {
            self.put(opened.ring)?;
        } else {
            // Additional keys are harmless, but a missing key that others sign with would refuse
            // valid tokens.
            self.put(opened.ring.with(&known))?;
        }
        *seen = Seen {
            version: Some(version),
            faults,
            read_at: Some(now),
        };
        ensure_usable(&seen.faults)
    }

    fn drop_revoked(&self, records: &KeyRecords) -> Result<(), KeysError> {
        let ring = self.in_force.current().ring.clone();
        let is_revoked = |facts: &KeyMetadata| {
            records
                .revoked
                .iter()
                .any(|revoked| revoked.facts.kid == facts.kid)
        };
        if ring.keys().any(|key| is_revoked(&key.facts)) {
            self.put(ring.without(is_revoked))
        } else {
            Ok(())
        }
    }

    async fn rotate_if_due(&self) -> Result<(), KeysError> {
        let ring = self.in_force.current().ring.clone();
        if self.manager.is_due(&ring) {
            for KeyMetadata {
                kid,
                kind,
                signs_from,
                ..
            } in self.manager.rotate_due().await?
            {
                tracing::info!(kid, token = kind.token_type(), %signs_from, "key created");
            }
        }
        if self.manager.has_prunable(&ring) {
            for KeyMetadata { kid, kind, .. } in self.manager.prune_cautiously().await? {
                tracing::info!(
                    kid,
                    token = kind.token_type(),
                    "key removed: all its tokens have expired"
                );
            }
        }
        Ok(())
    }

    fn put(&self, ring: KeyRing) -> Result<(), KeysError> {
        let known = self.in_force.current().ring.clone();
        let kids = |ring: &KeyRing| {
            ring.keys()
                .map(|key| key.facts.kid.clone())
                .collect::<Vec<_>>()
        };
        let (old, new) = (kids(&known), kids(&ring));
        if old == new {
            return Ok(());
        }
        let setting = self.manager.store.setting();
        self.in_force
            .replace(ring)
            .map_err(|error| KeysError::Broken(vec![format!("{setting}: {error}")]))?;
        for kid in new.iter().filter(|kid| !old.contains(kid)) {
            tracing::info!(kid, "key activated");
        }
        for kid in old.iter().filter(|kid| !new.contains(kid)) {
            tracing::info!(kid, "key deactivated: its tokens are refused");
        }
        Ok(())
    }
}
