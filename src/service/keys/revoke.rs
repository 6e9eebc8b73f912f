//! Emergency: a key that somebody else may have.

use chrono::TimeDelta;

use super::{ATTEMPTS, KeyManager, KeysError, Plan, ensure_usable, generate::Activation};
use crate::{
    crypto::{key_ring::KeyRing, passphrase::Passphrase},
    domain::{
        audit::EventKind,
        keys::{self, KeyMetadata},
        time::Moment,
    },
    ports::{KeyChange, KeyRecords},
};

/// How long a successor that nobody has seen yet is there before it signs and the revoked key goes: every instance looks
/// once a second.
pub const HANDOVER_DELAY: TimeDelta = TimeDelta::seconds(2);

/// Who signs when the key is gone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Successor {
    /// A new key, from the moment when every instance has seen it: there is no other. Verifiers have not seen it.
    AtOnce(KeyMetadata),
    /// An older key again, until a new one has been published long enough.
    Later(KeyMetadata),
    /// Whoever would have signed anyway.
    NotNeeded,
}

/// A key that was revoked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Revoked {
    /// The key as it was.
    pub facts: KeyMetadata,
    /// The reason why it was marked without the lock of the ring, if it was.
    pub obstacle: Option<String>,
}

impl KeyManager {
    /// Makes the successor that is needed once the key `kid` is gone, and does not touch that key yet: an instance that knows the
    /// revocation and not the successor could sign nothing.
    ///
    /// # Errors
    /// [`KeysError::NotFound`], [`KeysError::Revoked`]; any other is no reason not to revoke.
    pub async fn prepare_revocation(&self, kid: &str) -> Result<Successor, KeysError> {
        for _ in 0..ATTEMPTS {
            let records = self.read().await?;
            let Some((facts, begin)) = needed(&records, kid, self.clock.now())? else {
                return Ok(Successor::NotNeeded);
            };
            Self::ensure_capacity_for(&records, 1)?;
            let passphrase = self.passphrase_to_open()?;
            self.try_passphrase(&records, passphrase.as_ref()).await?;
            let (made, text) = self.generate(
                &records,
                (facts.kind, facts.algorithm),
                begin,
                passphrase.as_ref(),
            )?;
            let events = vec![
                self.event(EventKind::KeyCreated, &made)
                    .with_cause("successor_of_revoked"),
            ];
            let changes = vec![KeyChange::Add(made.clone(), text)];
            let outcome = match begin {
                Activation::AfterLead => Successor::Later(made),
                Activation::AtOnce | Activation::Handover => Successor::AtOnce(made),
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

    /// That a new key would be encrypted as the others are. One of them tells; to open all takes time that there is not.
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

    /// Takes the key out of the ring for ever: out of the key set, and its tokens are refused. No key is opened for that, so whatever
    /// else is wrong with the ring or its passphrase is no obstacle. What it was.
    ///
    /// The key is marked even if another process holds the lock of the ring: see [`KeyStore::mark_revoked`].
    ///
    /// # Errors
    /// [`KeysError::NotFound`], [`KeysError::Revoked`].
    ///
    /// [`KeyStore::mark_revoked`]: crate::ports::KeyStore::mark_revoked
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

/// The key, and when its successor has to begin, if one has to be made.
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
    // A key that cannot be read signs nothing.
    let rest = records
        .keys
        .iter()
        .map(|key| &key.facts)
        .filter(|key| key.kind == facts.kind && key.kid != kid);
    let rest: Vec<Moment> = rest.map(|key| key.signs_from).collect();
    Ok(match rest.iter().max() {
        None => Some((facts, Activation::Handover)),
        // One that begins as late or later takes over by itself.
        Some(last) if signs && *last <= now && *last < facts.signs_from => {
            Some((facts, Activation::AfterLead))
        }
        Some(_) => None,
    })
}

fn find(records: &KeyRecords, kid: &str) -> Result<KeyMetadata, KeysError> {
    if records.revoked.iter().any(|dead| dead.facts.kid == kid) {
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
