//! Import of keys.

use latchkey_verifier::{Algorithm, Kind};

use super::{KeyManager, KeysError, Plan, generate::Activation};
use latchkey_crypto::{
    key_import, key_pem,
    key_ring::RingKey,
    passphrase::Passphrase,
    signing_key::{MaterialError, SigningKey},
};
use latchkey_domain::{audit::EventKind, keys::KeyMetadata, ports::KeyChange};

/// Key to be imported.
pub struct Import<'a> {
    /// Contents of the key file.
    pub bytes: &'a [u8],
    /// Passphrase of the key file.
    pub passphrase: Option<Passphrase>,
    /// Signature algorithm, by default the usual one for the type of key.
    pub algorithm: Option<Algorithm>,
    /// Kind of tokens that the key signs.
    pub kind: Kind,
    /// True to sign at once, for keys that verifiers may have already.
    pub now: bool,
    /// True if the service creates a successor when the key has signed for the rotation interval.
    pub rotate: bool,
}

/// Imported key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Imported {
    /// Metadata of the key.
    pub facts: KeyMetadata,
    /// Removed keys that would have replaced the imported key and never signed.
    pub withdrawn: Vec<KeyMetadata>,
}

impl KeyManager {
    /// Adds the key to the key ring.
    ///
    /// # Errors
    /// [`KeysError::Material`], [`KeysError::Known`], [`KeysError::Revoked`].
    pub async fn import(&self, import: &Import<'_>) -> Result<Imported, KeysError> {
        let algorithm = match (import.kind, import.algorithm) {
            (Kind::Refresh, None | Some(Algorithm::Hs256)) => Some(Algorithm::Hs256),
            (Kind::Refresh, Some(_)) => return Err(KeysError::NotForRefresh),
            (Kind::Access, algorithm) => algorithm,
        };
        // A key that was copied from another ring of this deployment has the passphrase of the
        // ring.
        let passphrases: Vec<Passphrase> = import
            .passphrase
            .clone()
            .into_iter()
            .chain(self.passphrase()?)
            .collect();
        let (algorithm, contents) = key_import::read(import.bytes, algorithm, &passphrases)?;
        let begin = if import.now {
            Activation::AtOnce
        } else {
            Activation::AfterLead
        };
        self.change(|opened, passphrase| {
            Self::ensure_capacity(&opened.records)?;
            self.require_encryption(passphrase)?;
            let (key, text) = SigningKey::keep(algorithm, import.kind, &contents, passphrase)?;
            let kid = key.kid().to_owned();
            if opened.ring.find(&kid).is_some() {
                return Err(KeysError::Known(kid));
            }
            if opened
                .records
                .revoked
                .iter()
                .any(|revoked| revoked.facts.kid == kid)
            {
                return Err(KeysError::Revoked(kid));
            }
            key.verifying_key()
                .map_err(|_| MaterialError::NotForAlgorithm(algorithm))?;
            let signs_from = self.signs_from(&opened.records, import.kind, begin);
            let facts = KeyMetadata {
                kid,
                kind: import.kind,
                algorithm,
                signs_from,
            };
            let text = if import.rotate {
                text
            } else {
                key_pem::with_successor_by_hand(&text)
            };
            let overtakes = |key: &&RingKey| {
                let waits = key.facts.signs_from > self.clock.now() && !key.successor_by_hand;
                key.facts.kind == import.kind && waits && key.facts.signs_from >= facts.signs_from
            };
            // The first key of a ring signs even before its start.
            let signer = opened
                .ring
                .signer(import.kind, self.clock.now())
                .map(SigningKey::kid);
            let overtaking = opened
                .ring
                .keys()
                .filter(overtakes)
                .map(|key| key.facts.clone());
            let withdrawn: Vec<_> = overtaking
                .filter(|key| signer != Some(key.kid.as_str()))
                .collect();
            let mut events = vec![
                self.event(EventKind::KeyCreated, &facts)
                    .with_cause("imported"),
            ];
            events.extend(
                withdrawn
                    .iter()
                    .map(|key| self.event(EventKind::KeyPruned, key).with_cause("imported")),
            );
            let mut changes = vec![KeyChange::Add(facts.clone(), text)];
            changes.extend(withdrawn.iter().cloned().map(KeyChange::Remove));
            Ok(Plan {
                changes,
                events,
                outcome: Imported { facts, withdrawn },
            })
        })
        .await
    }
}
