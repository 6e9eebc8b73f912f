//! Generation of a key, and the start of its use.

use chrono::{DurationRound as _, SubsecRound as _, TimeDelta};
use latchkey_verifier::{Algorithm, Kind, MAX_KEYS};
use secrecy::SecretString;

use super::{KeyManager, KeysError, revoke::HANDOVER_DELAY};
use latchkey_crypto::{passphrase::Passphrase, signing_key::SigningKey};
use latchkey_domain::{
    keys::{self, KeyMetadata, PROPAGATION},
    ports::KeyRecords,
    time::Moment,
};

/// Part of the capacity that operators cannot use, so that the service can always rotate its keys.
const RESERVED_CAPACITY: usize = 8;

/// Start of signing with a new key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Activation {
    /// At once, after the time in which every instance reads the key. Verifiers with a cached key
    /// set do not have it yet.
    AtOnce,
    /// After the publish lead, when every verifier has fetched the key.
    AfterLead,
    /// With the removal of the revoked key.
    Handover,
}

impl KeyManager {
    pub(super) fn generate(
        &self,
        records: &KeyRecords,
        (kind, algorithm): (Kind, Algorithm),
        begin: Activation,
        passphrase: Option<&Passphrase>,
    ) -> Result<(KeyMetadata, SecretString), KeysError> {
        self.require_encryption(passphrase)?;
        let (key, text) = SigningKey::generate(algorithm, kind, passphrase)?;
        let facts = KeyMetadata {
            kid: key.kid().to_owned(),
            kind,
            algorithm,
            signs_from: self.signs_from(records, kind, begin),
        };
        Ok((facts, text))
    }

    /// Checks the capacity for one more key that an operator requested.
    pub(super) fn ensure_capacity(records: &KeyRecords) -> Result<(), KeysError> {
        Self::ensure_capacity_for(records, 1 + RESERVED_CAPACITY)
    }

    /// Checks the capacity for `more` keys.
    pub(super) fn ensure_capacity_for(records: &KeyRecords, more: usize) -> Result<(), KeysError> {
        let count = records.keys.len();
        if count + more > MAX_KEYS {
            Err(KeysError::Full(count))
        } else {
            Ok(())
        }
    }

    /// Checks that a private key would be stored encrypted, if the store requires it.
    pub(super) fn require_encryption(
        &self,
        passphrase: Option<&Passphrase>,
    ) -> Result<(), KeysError> {
        if passphrase.is_none() && self.store.wants_encryption() {
            Err(KeysError::Unprotected)
        } else {
            Ok(())
        }
    }

    /// Returns the start of signing. The first key of its kind signs at once, because there is no
    /// other.
    pub(super) fn signs_from(&self, records: &KeyRecords, kind: Kind, begin: Activation) -> Moment {
        let now = self.clock.now();
        if records.keys.iter().all(|key| key.facts.kind != kind) && begin != Activation::Handover {
            return now.trunc_subsecs(0);
        }
        let delay = match begin {
            Activation::AtOnce => PROPAGATION,
            // Every instance must have read the key, even with a shorter lead.
            Activation::AfterLead => self.rules.lead.max(PROPAGATION),
            Activation::Handover => HANDOVER_DELAY,
        };
        // Key names have whole seconds. Rounding up keeps the promised minimum.
        let starts = keys::saturating_add(now, delay);
        starts
            .duration_round_up(TimeDelta::seconds(1))
            .unwrap_or(starts)
    }
}
