//! A new key, and from when on it signs.

use chrono::{DurationRound as _, SubsecRound as _, TimeDelta};
use latchkey_verifier::{Algorithm, Kind, MAX_KEYS};
use secrecy::SecretString;

use super::{KeyManager, KeysError, revoke::HANDOVER_DELAY};
use crate::{
    crypto::{passphrase::Passphrase, signing_key::SigningKey},
    domain::{
        keys::{self, KeyMetadata, PROPAGATION},
        time::Moment,
    },
    ports::KeyRecords,
};

/// Room for what the service itself makes, whatever operators do.
const RESERVE: usize = 8;

/// When a new key begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Activation {
    /// As soon as every instance has seen it; verifiers that cache the key set have not.
    AtOnce,
    /// When every verifier has seen it.
    AfterLead,
    /// When the key goes that has to go.
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

    /// Room for one more key that somebody asks for.
    pub(super) fn ensure_capacity(records: &KeyRecords) -> Result<(), KeysError> {
        Self::ensure_capacity_for(records, 1 + RESERVE)
    }

    /// Room for so many more keys.
    pub(super) fn ensure_capacity_for(records: &KeyRecords, more: usize) -> Result<(), KeysError> {
        let count = records.keys.len();
        if count + more > MAX_KEYS {
            Err(KeysError::Full(count))
        } else {
            Ok(())
        }
    }

    /// Whether a private part may be kept as it would be.
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

    /// The first key of its kind signs at once: there is no other.
    pub(super) fn signs_from(&self, records: &KeyRecords, kind: Kind, begin: Activation) -> Moment {
        let now = self.clock.now();
        if records.keys.iter().all(|key| key.facts.kind != kind) && begin != Activation::Handover {
            return now.trunc_subsecs(0);
        }
        let span = match begin {
            Activation::AtOnce => PROPAGATION,
            // Never before every instance has seen it, whatever is set.
            Activation::AfterLead => self.rules.lead.max(PROPAGATION),
            Activation::Handover => HANDOVER_DELAY,
        };
        // A name has whole seconds; never earlier than was promised.
        let begins = keys::saturating_add(now, span);
        begins
            .duration_round_up(TimeDelta::seconds(1))
            .unwrap_or(begins)
    }
}
