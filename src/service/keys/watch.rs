//! Every instance looks once a second whether the ring changed, and puts the new one into force.

use std::sync::Arc;

use chrono::TimeDelta;
use latchkey_verifier::Kind;
use tokio::sync::Mutex;

use super::{KeyManager, KeysError, ensure_usable};
use crate::{
    crypto::{key_ring::KeyRing, passphrase},
    domain::{
        keys::{KeyMetadata, saturating_add},
        time::Moment,
    },
    ports::{KeyRecords, StoreError},
    service::active_keys::ActiveKeys,
};

/// How long a ring that cannot be used is left alone before it is read again: what was wrong may have been the reading.
const RETRY_INTERVAL: TimeDelta = TimeDelta::seconds(5);

/// How long nothing is made after that failed: making a key is work, and a directory that cannot be written to stays so.
const BACKOFF: TimeDelta = TimeDelta::minutes(1);

/// Keeps the ring in force what it should be.
pub struct KeyWatch {
    failed: Mutex<Option<(Moment, String)>>,
    in_force: Arc<ActiveKeys>,
    manager: KeyManager,
    seen: Mutex<Seen>,
}

/// The last ring that was read, and what was wrong with it.
#[derive(Default)]
struct Seen {
    version: Option<String>,
    wrong: Vec<String>,
    read_at: Option<Moment>,
}

impl KeyWatch {
    /// A watch that puts what `manager` finds into `in_force`.
    #[must_use]
    pub fn new(manager: KeyManager, in_force: Arc<ActiveKeys>) -> Self {
        // The ring in force was read just before.
        in_force.record_read(manager.clock.now());
        Self {
            failed: Mutex::default(),
            in_force,
            manager,
            seen: Mutex::default(),
        }
    }

    /// Looks once, and takes a changed ring over. Of a ring with something wrong in it, what was revoked is taken out and what can be
    /// used is taken in; all other keys in force stay. Run it every second.
    ///
    /// # Errors
    /// What is wrong with the ring in the store, or with the store.
    pub async fn poll(&self) -> Result<(), KeysError> {
        let mut seen = self.seen.lock().await;
        let outcome = self.activate(&mut seen).await;
        // A database that is away is no broken ring.
        self.in_force.record_broken(!matches!(
            outcome,
            Ok(()) | Err(KeysError::Store(_, StoreError::Unavailable(_)))
        ));
        outcome
    }

    /// Does what has to be done because its time has come: makes keys that are due, removes keys that are over. The next look takes
    /// it over. Run it every second, apart from the looks: it may have to wait for others.
    ///
    /// # Errors
    /// What could not be done; it is left alone for a minute then.
    pub async fn keep(&self) -> Result<(), KeysError> {
        let mut failed = self.failed.lock().await;
        let now = self.manager.clock.now();
        if let Some((at, why)) = failed.as_ref()
            && now < saturating_add(*at, BACKOFF)
        {
            return Err(KeysError::Resting(why.clone()));
        }
        let kept = self.rotate_if_due().await;
        *failed = kept.as_ref().err().map(|why| (now, why.to_string()));
        self.in_force.record_overdue(failed.is_some());
        kept
    }

    async fn activate(&self, seen: &mut Seen) -> Result<(), KeysError> {
        let store = &self.manager.store;
        let version = store
            .version()
            .await
            .map_err(|error| self.manager.failed(error))?;
        // Another passphrase may be what a ring waits for that could not be read.
        let passphrase = self
            .manager
            .passphrase
            .as_deref()
            .map(passphrase::version)
            .unwrap_or_default();
        let version = format!("{version} {passphrase}");
        let now = self.manager.clock.now();
        let fresh = seen.wrong.is_empty()
            || seen
                .read_at
                .is_some_and(|read| now < saturating_add(read, RETRY_INTERVAL));
        if seen.version.as_ref() == Some(&version) && fresh {
            self.in_force.record_read(now);
            return ensure_usable(&seen.wrong);
        }
        let records = self.manager.read().await?;
        // First of all, and whatever is wrong with the rest: a key that has to go must go.
        self.drop_revoked(&records)?;
        self.in_force.record_read(now);
        let known = self.in_force.current().ring.clone();
        let opened = self.manager.opened(records, &known).await?;
        let mut wrong = opened.wrong;
        let lacks = |kind: &Kind| opened.ring.newest(*kind).is_none();
        if wrong.is_empty() && [Kind::Access, Kind::Refresh].iter().any(lacks) {
            let setting = store.setting();
            wrong.push(format!(
                "{setting}: there is no key to sign with: put the keys back, or restart to make new ones"
            ));
        }
        if wrong.is_empty() {
            self.put(opened.ring)?;
        } else {
            // More keys than needed refuse nothing; a key that others sign with must not be missing.
            self.put(opened.ring.with(&known))?;
        }
        *seen = Seen {
            version: Some(version),
            wrong,
            read_at: Some(now),
        };
        ensure_usable(&seen.wrong)
    }

    fn drop_revoked(&self, records: &KeyRecords) -> Result<(), KeysError> {
        let ring = self.in_force.current().ring.clone();
        let is_dead = |facts: &KeyMetadata| {
            records
                .revoked
                .iter()
                .any(|dead| dead.facts.kid == facts.kid)
        };
        if ring.keys().any(|key| is_dead(&key.facts)) {
            self.put(ring.without(is_dead))
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
                tracing::info!(kid, token = kind.token_type(), %signs_from, "a key was made");
            }
        }
        if self.manager.has_prunable(&ring) {
            for KeyMetadata { kid, kind, .. } in self.manager.prune_cautiously().await? {
                tracing::info!(
                    kid,
                    token = kind.token_type(),
                    "a key was removed: its tokens have expired"
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
            tracing::info!(kid, "a key was added");
        }
        for kid in old.iter().filter(|kid| !new.contains(kid)) {
            tracing::info!(kid, "a key is gone: its tokens are refused");
        }
        Ok(())
    }
}
