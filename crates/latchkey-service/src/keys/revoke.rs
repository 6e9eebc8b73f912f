//! Revocation of a compromised key.

use chrono::TimeDelta;

use super::{ATTEMPTS, KeyManager, KeysError, Plan, ensure_usable, generate::Activation};
use latchkey_crypto::{key_ring::KeyRing, passphrase::Passphrase};
use latchkey_domain::{
    audit::EventKind,
    keys::{self, KeyMetadata},
    ports::{KeyChange, KeyRecords},
    time::Moment,
};

/// Time between the creation of a successor that signs at once and the removal of the revoked key.
/// Every instance reads the key ring once a second.
pub const HANDOVER_DELAY: TimeDelta = TimeDelta::seconds(2);

/// Key that signs after the revocation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Successor {
    /// New key that signs as soon as every instance has read it, because there is no other.
    /// Verifiers have not fetched it yet.
    AtOnce(KeyMetadata),
    /// New key that signs after the publish lead. Until then an older key signs again.
    Later(KeyMetadata),
    /// No new key: the remaining keys suffice.
    NotNeeded,
}

/// Revoked key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Revoked {
    /// Metadata of the key before the revocation.
    pub facts: KeyMetadata,
    /// Failure because of which the key was revoked without the lock of the ring, if any.
    pub obstacle: Option<String>,
}

impl KeyManager {
    /// Creates the successor that will be required after the revocation of the key `kid`. The key
    /// itself is not changed yet: an instance that had read the revocation but not the successor
    /// could not sign.
    ///
    /// # Errors
    /// [`KeysError::NotFound`], [`KeysError::Revoked`]. Any other error does not prevent the
    /// revocation.
    pub async fn prepare_revocation(&self, kid: &str) -> Result<Successor, KeysError> {
        for _ in 0..ATTEMPTS {
            let records = self.read().await?;
            let Some((facts, begin)) = needed(&records, kid, self.clock.now())? else {
                return Ok(Successor::NotNeeded);
            };
            Self::ensure_capacity_for(&records, 1)?;
            let passphrase = self.passphrase_to_open()?;
            self.try_passphrase(&records, passphrase.as_ref()).await?;
            let (created, text) = self.generate(
                &records,
                (facts.kind, facts.algorithm),
                begin,
                passphrase.as_ref(),
            )?;
            let events = vec![
                self.event(EventKind::KeyCreated, &created)
                    .with_cause("successor_of_revoked"),
            ];
            let changes = vec![KeyChange::Add(created.clone(), text)];
            let outcome = match begin {
                Activation::AfterLead => Successor::Later(created),
                Activation::AtOnce | Activation::Handover => Successor::AtOnce(created),
            };
            if let Some(outcome) = self
                .attempt(
                    &records,
                    Plan {
                        changes,
                        events,
                        outcome,
                    },
                )
                .await?
            {
                return Ok(outcome);
            }
        }
        Err(KeysError::Busy)
    }

    /// Checks that the passphrase decrypts the existing keys, so that the new key is encrypted like
    /// them. Only one key is decrypted, because decryption is slow and the revocation is urgent.
    async fn try_passphrase(
        &self,
        records: &KeyRecords,
        passphrase: Option<&Passphrase>,
    ) -> Result<(), KeysError> {
        let encrypted = Self::encrypted(records);
        let Some(one) = records
            .keys
            .iter()
            .rfind(|key| encrypted.contains(&key.facts.kid.as_str()))
        else {
            return Ok(());
        };
        let records = KeyRecords {
            keys: vec![one.clone()],
            ..KeyRecords::default()
        };
        ensure_usable(
            &self
                .opened_with(records, passphrase.cloned(), &KeyRing::default())
                .await?
                .wrong,
        )
    }

    /// Revokes the key permanently: removes it from the key set, so that its tokens are refused.
    /// Returns the key before the revocation.
    ///
    /// No key is decrypted, so faults of the ring or of its passphrase do not prevent the
    /// revocation.
    ///
    /// The key is revoked even if another process holds the lock of the ring: see
    /// [`KeyStore::mark_revoked`].
    ///
    /// # Errors
    /// [`KeysError::NotFound`], [`KeysError::Revoked`].
    ///
    /// [`KeyStore::mark_revoked`]: latchkey_domain::ports::KeyStore::mark_revoked
    pub async fn revoke(&self, kid: &str) -> Result<Revoked, KeysError> {
        let mut facts = find(&self.read().await?, kid)?;
        let mut obstacle = KeysError::Busy;
        for _ in 0..ATTEMPTS {
            let records = self.read().await?;
            facts = find(&records, kid)?;
            let changes = vec![KeyChange::Revoke(facts.clone(), self.clock.now())];
            let events = vec![self.event(EventKind::KeyRevoked, &facts)];
            match self
                .attempt(
                    &records,
                    Plan {
                        changes,
                        events,
                        outcome: (),
                    },
                )
                .await
            {
                Ok(Some(())) => {
                    return Ok(Revoked {
                        facts,
                        obstacle: None,
                    });
                }
                Ok(None) => {}
                Err(error) => {
                    obstacle = error;
                    break;
                }
            }
        }
        if self.store.mark_revoked(&facts).await.is_err() {
            return Err(obstacle);
        }
        self.audit(vec![self.event(EventKind::KeyRevoked, &facts)])
            .await;
        Ok(Revoked {
            facts,
            obstacle: Some(obstacle.to_string()),
        })
    }
}

/// Returns the key and the activation of its successor, or `None` if no successor is required.
fn needed(
    records: &KeyRecords,
    kid: &str,
    now: Moment,
) -> Result<Option<(KeyMetadata, Activation)>, KeysError> {
    let facts = find(records, kid)?;
    let mut ring: Vec<&KeyMetadata> = records
        .keys
        .iter()
        .map(|key| &key.facts)
        .chain(&records.unreadable)
        .collect();
    ring.retain(|key| key.kind == facts.kind);
    ring.sort_by_key(|key| key.order());
    let starts: Vec<Moment> = ring.iter().map(|key| key.signs_from).collect();
    let signs = keys::signer(&starts, now)
        .and_then(|index| ring.get(index))
        .is_some_and(|signer| signer.kid == kid);
    // An unreadable key cannot sign.
    let others = records
        .keys
        .iter()
        .map(|key| &key.facts)
        .filter(|key| key.kind == facts.kind && key.kid != kid);
    let others: Vec<Moment> = others.map(|key| key.signs_from).collect();
    Ok(match others.iter().max() {
        None => Some((facts, Activation::Handover)),
        // A key that starts later takes over automatically.
        Some(last) if signs && *last <= now && *last < facts.signs_from => {
            Some((facts, Activation::AfterLead))
        }
        Some(_) => None,
    })
}

fn find(records: &KeyRecords, kid: &str) -> Result<KeyMetadata, KeysError> {
    if records.revoked.iter().any(|key| key.facts.kid == kid) {
        return Err(KeysError::Revoked(kid.to_owned()));
    }
    let found = records
        .keys
        .iter()
        .map(|key| &key.facts)
        .chain(&records.unreadable)
        .find(|facts| facts.kid == kid);
    found
        .cloned()
        .ok_or_else(|| KeysError::NotFound(kid.to_owned()))
}
