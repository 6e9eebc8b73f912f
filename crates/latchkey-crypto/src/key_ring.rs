//! Key ring: the usable keys of a store. The key that signs at a given time follows from
//! [`latchkey_domain::keys`].

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use latchkey_verifier::{Algorithm, KeyError, KeySet, Kind};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::{key_pem, passphrase::Passphrase, signing_key::SigningKey};
use latchkey_domain::{
    keys::{self, KeyMetadata, KeyState, MaxLifetimes},
    ports::KeyRecord,
    time::Moment,
};

/// Key of the ring.
#[derive(Clone, Debug)]
pub struct RingKey {
    /// Metadata.
    pub facts: KeyMetadata,
    /// Key.
    pub key: Arc<SigningKey>,
    /// True if the service does not rotate the key automatically.
    pub successor_by_hand: bool,
    /// Hash of the stored text. An unchanged text is not decrypted again, because that is slow on
    /// purpose.
    text: [u8; 32],
}

/// Keys of one store. Active keys have at least one of either kind.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    access: Keys,
    refresh: Keys,
}

/// Keys of one kind, in the order of their starts.
#[derive(Clone, Debug, Default)]
struct Keys {
    keys: Vec<RingKey>,
    starts: Vec<Moment>,
}

/// Published key set, encoded once.
#[derive(Clone, Debug)]
pub struct PublishedKeys {
    /// Algorithms of the keys of access tokens, starting with that of the newest key.
    pub algorithms: Vec<Algorithm>,
    /// JSON text.
    pub body: Bytes,
    /// Strong entity tag with its quotes (RFC 9110, section 8.8.3).
    pub etag: Bytes,
}

impl KeyRing {
    /// Opens sorted records. Keys that are unchanged in `known` are taken from there. Also returns
    /// one line for each unusable key, because a ring without it would refuse valid tokens.
    #[must_use]
    pub fn open(
        records: &[KeyRecord],
        passphrases: &[Passphrase],
        known: &Self,
    ) -> (Self, Vec<String>) {
        let (mut ring, mut wrong) = (Self::default(), Vec::new());
        for KeyRecord { facts, text, place } in records {
            let text_hash = hash(text.expose_secret().as_bytes());
            let key = match known
                .find(&facts.kid)
                .filter(|key| key.text == text_hash && key.facts == *facts)
            {
                Some(known) => Arc::clone(&known.key),
                None => match SigningKey::open(facts, text, passphrases) {
                    Ok((key, _)) => Arc::new(key),
                    Err(reason) => {
                        wrong.push(format!("{place}: {reason}"));
                        continue;
                    }
                },
            };
            if ring.find(&facts.kid).is_some() {
                wrong.push(format!("{place}: is a duplicate: remove one of the two"));
                continue;
            }
            let successor_by_hand = key_pem::has_successor_by_hand(text.expose_secret());
            ring.push(RingKey {
                facts: facts.clone(),
                key,
                successor_by_hand,
                text: text_hash,
            });
        }
        (ring, wrong)
    }

    /// Returns the union of both rings. If both have a key, this ring's is used.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let theirs = other
            .keys()
            .filter(|key| self.find(&key.facts.kid).is_none());
        let mut all: Vec<_> = self.keys().chain(theirs).cloned().collect();
        all.sort_by(|a, b| a.facts.order().cmp(&b.facts.order()));
        let mut ring = Self::default();
        for key in all {
            ring.push(key);
        }
        ring
    }

    /// Returns the ring without the keys for which `is_revoked` returns true.
    #[must_use]
    pub fn without(&self, is_revoked: impl Fn(&KeyMetadata) -> bool) -> Self {
        let mut ring = Self::default();
        for key in self.keys().filter(|key| !is_revoked(&key.facts)) {
            ring.push(key.clone());
        }
        ring
    }

    /// Returns the key that signs tokens of this kind issued at `at`, or `None` if there is no
    /// key of that kind.
    #[must_use]
    pub fn signer(&self, kind: Kind, at: Moment) -> Option<&SigningKey> {
        let Keys { keys, starts } = self.of(kind);
        keys.get(keys::signer(starts, at)?)
            .map(|key| key.key.as_ref())
    }

    /// Returns the period in which the key that signs at `at` signs: its start, and the start of
    /// its successor, if there is one.
    #[must_use]
    pub fn signing_period(&self, kind: Kind, at: Moment) -> Option<(Moment, Option<Moment>)> {
        let starts = &self.of(kind).starts;
        let signer = keys::signer(starts, at)?;
        Some((*starts.get(signer)?, starts.get(signer + 1).copied()))
    }

    /// Returns each key with its state at `now`: access before refresh, in the order of their
    /// starts.
    pub fn states(
        &self,
        now: Moment,
        lives: MaxLifetimes,
    ) -> impl Iterator<Item = (&RingKey, KeyState)> {
        [Kind::Access, Kind::Refresh]
            .into_iter()
            .flat_map(move |kind| {
                let Keys { keys, starts } = self.of(kind);
                let state = move |index| keys::state(starts, index, now, lives.of(kind));
                keys.iter()
                    .enumerate()
                    .map(move |(index, key)| (key, state(index)))
            })
    }

    /// Returns all keys, access before refresh.
    pub fn keys(&self) -> impl Iterator<Item = &RingKey> {
        self.access.keys.iter().chain(&self.refresh.keys)
    }

    /// Returns the key of this kind with the latest start.
    #[must_use]
    pub fn newest(&self, kind: Kind) -> Option<&RingKey> {
        self.of(kind).keys.last()
    }

    /// Returns the key with this `kid`.
    #[must_use]
    pub fn find(&self, kid: &str) -> Option<&RingKey> {
        self.keys().find(|key| key.facts.kid == kid)
    }

    /// Returns all keys as a key set for verification.
    ///
    /// # Errors
    /// There are too many keys, or two keys are equal.
    pub fn key_set(&self) -> Result<KeySet, KeyError> {
        let mut set = KeySet::new();
        for key in self.keys() {
            set.insert(&key.facts.kid, key.key.verifying_key()?)?;
        }
        Ok(set)
    }

    /// Returns the public keys of access tokens as a JSON Web Key Set (RFC 7517, section 5), newest
    /// first.
    #[must_use]
    pub fn published(&self) -> PublishedKeys {
        let newest_first = || self.access.keys.iter().rev();
        let keys: Vec<_> = newest_first()
            .filter_map(|key| key.key.public_jwk())
            .collect();
        let body = json!({ "keys": keys }).to_string();
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(hash(body.as_bytes())));
        let mut algorithms = Vec::new();
        for algorithm in newest_first().map(|key| key.facts.algorithm) {
            if !algorithms.contains(&algorithm) {
                algorithms.push(algorithm);
            }
        }
        PublishedKeys {
            algorithms,
            body: body.into(),
            etag: etag.into(),
        }
    }

    fn push(&mut self, key: RingKey) {
        let Keys { keys, starts } = match key.facts.kind {
            Kind::Access => &mut self.access,
            Kind::Refresh => &mut self.refresh,
        };
        starts.push(key.facts.signs_from);
        keys.push(key);
    }

    const fn of(&self, kind: Kind) -> &Keys {
        match kind {
            Kind::Access => &self.access,
            Kind::Refresh => &self.refresh,
        }
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes)
        .as_ref()
        .try_into()
        .unwrap_or_default()
}

#[cfg(test)]
#[path = "key_ring_tests.rs"]
mod tests;
