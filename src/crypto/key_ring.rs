//! The ring: the keys of a store, ready to be used, and which of them signs at a given moment ([`crate::domain::keys`]).

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use latchkey_verifier::{Algorithm, KeyError, KeySet, Kind};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::{key_pem, passphrase::Passphrase, signing_key::SigningKey};
use crate::{
    domain::{
        keys::{self, KeyMetadata, KeyState, MaxLifetimes},
        time::Moment,
    },
    ports::KeyRecord,
};

/// A key of the ring.
#[derive(Clone, Debug)]
pub struct RingKey {
    /// What it is for.
    pub facts: KeyMetadata,
    /// The key.
    pub key: Arc<SigningKey>,
    /// True if the service makes no successor by itself.
    pub successor_by_hand: bool,
    /// Of the text that it came from, so that a text that did not change is not opened again: that takes long on purpose.
    text: [u8; 32],
}

/// The keys of one store. A ring that is in force has at least one of either kind.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    access: Keys,
    refresh: Keys,
}

/// The keys of one kind, in the order in which they begin.
#[derive(Clone, Debug, Default)]
struct Keys {
    keys: Vec<RingKey>,
    starts: Vec<Moment>,
}

/// The published key set, made once.
#[derive(Clone, Debug)]
pub struct PublishedKeys {
    /// The algorithms of the keys of access tokens, the newest key's first.
    pub algorithms: Vec<Algorithm>,
    /// The JSON text.
    pub body: Bytes,
    /// A strong entity tag with its quotes (RFC 9110, section 8.8.3).
    pub etag: Bytes,
}

impl KeyRing {
    /// The ring of these records, which are in order. Those that `known` already has are taken from there. Also a line for
    /// each key that cannot be used: a ring with a hole in it would refuse good tokens.
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
                wrong.push(format!("{place}: is there twice: remove one of the two"));
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

    /// The keys of both: of one that both have, this ring's.
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

    /// The ring without the keys that `is_dead` says.
    #[must_use]
    pub fn without(&self, is_dead: impl Fn(&KeyMetadata) -> bool) -> Self {
        let mut ring = Self::default();
        for key in self.keys().filter(|key| !is_dead(&key.facts)) {
            ring.push(key.clone());
        }
        ring
    }

    /// The key that signs `kind` tokens dated `at`. `None` only where there is no key of that kind.
    #[must_use]
    pub fn signer(&self, kind: Kind, at: Moment) -> Option<&SigningKey> {
        let Keys { keys, starts } = self.of(kind);
        keys.get(keys::signer(starts, at)?)
            .map(|key| key.key.as_ref())
    }

    /// Returns the time since which the key of this kind signs that signs `at`, and the time from which on its successor
    /// does, if there is one.
    #[must_use]
    pub fn signing_period(&self, kind: Kind, at: Moment) -> Option<(Moment, Option<Moment>)> {
        let starts = &self.of(kind).starts;
        let signer = keys::signer(starts, at)?;
        Some((*starts.get(signer)?, starts.get(signer + 1).copied()))
    }

    /// Each key, access before refresh, in the order in which they begin, with what it does at `now`.
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

    /// All keys, access before refresh.
    pub fn keys(&self) -> impl Iterator<Item = &RingKey> {
        self.access.keys.iter().chain(&self.refresh.keys)
    }

    /// The key of this kind that begins last.
    #[must_use]
    pub fn newest(&self, kind: Kind) -> Option<&RingKey> {
        self.of(kind).keys.last()
    }

    /// The key with this `kid`.
    #[must_use]
    pub fn find(&self, kid: &str) -> Option<&RingKey> {
        self.keys().find(|key| key.facts.kid == kid)
    }

    /// All keys, to verify with.
    ///
    /// # Errors
    /// When there are too many, or two are the same.
    pub fn key_set(&self) -> Result<KeySet, KeyError> {
        let mut set = KeySet::new();
        for key in self.keys() {
            set.insert(&key.facts.kid, key.key.verifying_key()?)?;
        }
        Ok(set)
    }

    /// The public halves of the keys of access tokens as a JSON Web Key Set (RFC 7517, section 5), the newest first.
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
