//! Port of the key ring: a directory of files, or a table.

use async_trait::async_trait;
use secrecy::SecretString;

use super::StoreError;
use crate::{
    keys::{KeyMetadata, MaxLifetimes},
    time::Moment,
};

/// Stored signing key.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    /// Id, purpose and state of the key.
    pub facts: KeyMetadata,
    /// PEM text with the private part, encrypted or not.
    pub text: SecretString,
    /// Location in the store, for error messages.
    pub place: String,
}

/// Revoked key. It must never be used again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RevokedKey {
    /// Id, purpose and last state of the key.
    pub facts: KeyMetadata,
    /// Time of the revocation.
    pub at: Moment,
}

/// Content of a key store.
#[derive(Clone, Debug, Default)]
pub struct KeyRecords {
    /// Version of the content. Any change of the content changes it.
    pub version: String,
    /// Keys in the order of [`KeyMetadata::order`].
    pub keys: Vec<KeyRecord>,
    /// Revoked keys in the same order.
    pub revoked: Vec<RevokedKey>,
    /// Longest token lifetimes of any server, as recorded by [`KeyChange::Lives`].
    pub lives: MaxLifetimes,
    /// Keys that could not be read. They can still be revoked.
    pub unreadable: Vec<KeyMetadata>,
    /// Errors of unreadable parts: one line each with the location, the fault and the remedy.
    pub broken: Vec<String>,
}

/// Change of the key ring.
#[derive(Clone, Debug)]
pub enum KeyChange {
    /// Adds a new key.
    Add(KeyMetadata, SecretString),
    /// Records the longest token lifetimes, so that a later, shorter setting does not remove a key
    /// too early.
    Lives(MaxLifetimes),
    /// Deletes a key and records its revocation.
    Revoke(KeyMetadata, Moment),
    /// Deletes a key.
    Remove(KeyMetadata),
    /// Replaces the text of a key, which is encrypted in another way.
    Rewrap(KeyMetadata, SecretString),
}

/// Store of the key ring.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Returns the version that [`read`](Self::read) would return. Cheap enough to poll every
    /// second.
    async fn version(&self) -> Result<String, StoreError>;

    /// Returns the whole content.
    async fn read(&self) -> Result<KeyRecords, StoreError>;

    /// Applies all `changes` if the version is still `seen`, else none. Returns true if they were
    /// applied. Of concurrent calls with one version, exactly one succeeds.
    async fn change(&self, seen: &str, changes: &[KeyChange]) -> Result<bool, StoreError>;

    /// Records a revocation without a check of the version. Idempotent.
    ///
    /// # Errors
    /// Fails if the store does not support this.
    async fn mark_revoked(&self, facts: &KeyMetadata) -> Result<(), StoreError> {
        Err(StoreError::Failed(format!(
            "{} cannot be revoked apart from other changes",
            facts.kid
        )))
    }

    /// Returns the name of the setting that locates the store, for messages.
    fn setting(&self) -> &'static str;

    /// Returns true if private parts must be encrypted in this store.
    fn wants_encryption(&self) -> bool {
        false
    }
}
