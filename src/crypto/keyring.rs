//! The ring: which keys there are, and which of them signs at a given moment.
//!
//! What a key does follows from the time alone, so that all instances with one directory agree without talking:
//! it is published at once, and it signs from its creation plus the publishing lead, when every verifier that
//! caches the key set has seen it. The first key of a ring signs at once: there is no other.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use latchkey_verifier::{Algorithm, KeyError, KeySet, Kind};
use serde_json::json;

use super::{
    key_file::{self, KeyFileError, StoredKey},
    signing_key::SigningKey,
};
use crate::domain::time::Moment;

/// The keys of one directory. A ring that was opened for signing has at least one of either kind.
#[derive(Debug)]
pub struct Keyring {
    access: Vec<StoredKey>,
    refresh: Vec<StoredKey>,
    lead: TimeDelta,
}

/// What a key does at a moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyState {
    /// In the key set, waiting for the verifiers to see it.
    Published,
    /// Signs.
    Signing,
    /// Signs no more, still verifies.
    Verifying,
}

impl KeyState {
    /// The state in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Signing => "signing",
            Self::Verifying => "verifying",
        }
    }
}

/// The published key set, made once.
#[derive(Clone, Debug)]
pub struct PublishedKeys {
    /// The algorithms of the keys of access tokens, the newest key's first.
    pub algorithms: Vec<Algorithm>,
    /// The JSON text.
    pub body: String,
    /// A strong entity tag with its quotes (RFC 9110, section 8.8.3).
    pub etag: String,
}

impl Keyring {
    /// Reads the directory and changes nothing. The ring may be empty.
    ///
    /// # Errors
    /// The first file that is not right.
    pub fn read(directory: &Path, lead: TimeDelta) -> Result<Self, KeyFileError> {
        let (access, refresh) =
            key_file::read_all(directory)?.into_iter().partition(|stored| stored.key.kind() == Kind::Access);
        Ok(Self { access, refresh, lead })
    }

    /// Reads the directory, and first makes what is missing: a key for access tokens when the newest is not for
    /// `algorithm`, and a secret for refresh tokens when there is none. Also says which keys it made.
    ///
    /// # Errors
    /// The first file that is not right.
    pub fn open(
        directory: &Path,
        algorithm: Algorithm,
        lead: TimeDelta,
        now: Moment,
    ) -> Result<(Self, Vec<String>), KeyFileError> {
        let _lock = key_file::lock(directory)?;
        let Self { mut access, mut refresh, lead } = Self::read(directory, lead)?;
        let mut made = Vec::new();
        if access.last().is_none_or(|newest| newest.key.algorithm() != algorithm) {
            access.push(key_file::create(directory, Kind::Access, algorithm, now)?);
            made.extend(access.last().map(|stored| stored.key.kid().to_owned()));
        }
        if refresh.is_empty() {
            refresh.push(key_file::create(directory, Kind::Refresh, Algorithm::Hs256, now)?);
            made.extend(refresh.last().map(|stored| stored.key.kid().to_owned()));
        }
        Ok((Self { access, refresh, lead }, made))
    }

    /// The key that signs `kind` tokens dated `at`. `None` only for a ring that is empty.
    #[must_use]
    pub fn signer(&self, kind: Kind, at: Moment) -> Option<&SigningKey> {
        let keys = self.of(kind);
        let seen = keys.iter().rev().find(|stored| self.signs_from(stored).is_some_and(|start| start <= at));
        seen.or_else(|| keys.first()).map(|stored| &stored.key)
    }

    /// Each key, the oldest first, access before refresh, with what it does at `now`.
    pub fn states(&self, now: Moment) -> impl Iterator<Item = (&StoredKey, KeyState)> {
        [Kind::Access, Kind::Refresh].into_iter().flat_map(move |kind| {
            let signer = self.signer(kind, now).map(SigningKey::kid);
            let mut state = KeyState::Verifying;
            self.of(kind).iter().map(move |stored| {
                if Some(stored.key.kid()) == signer {
                    state = KeyState::Published;
                    return (stored, KeyState::Signing);
                }
                (stored, state)
            })
        })
    }

    /// All keys, to verify with.
    ///
    /// # Errors
    /// When there are too many, or two are the same.
    pub fn key_set(&self) -> Result<KeySet, KeyError> {
        let mut set = KeySet::new();
        for stored in self.access.iter().chain(&self.refresh) {
            set.insert(stored.key.kid(), stored.key.verifying_key()?)?;
        }
        Ok(set)
    }

    /// The public halves of the keys of access tokens as a JSON Web Key Set (RFC 7517, section 5).
    #[must_use]
    pub fn published(&self) -> PublishedKeys {
        let keys: Vec<_> = self.access.iter().rev().filter_map(|stored| stored.key.public_jwk()).collect();
        let body = json!({ "keys": keys }).to_string();
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(digest(&SHA256, body.as_bytes())));
        let mut algorithms = Vec::new();
        for algorithm in self.access.iter().rev().map(|stored| stored.key.algorithm()) {
            if !algorithms.contains(&algorithm) {
                algorithms.push(algorithm);
            }
        }
        PublishedKeys { algorithms, body, etag }
    }

    /// `None`: beyond the calendar, so never.
    fn signs_from(&self, stored: &StoredKey) -> Option<Moment> {
        stored.created_at.checked_add_signed(self.lead)
    }

    fn of(&self, kind: Kind) -> &[StoredKey] {
        match kind {
            Kind::Access => &self.access,
            Kind::Refresh => &self.refresh,
        }
    }
}

#[cfg(test)]
#[path = "keyring_tests.rs"]
mod tests;
