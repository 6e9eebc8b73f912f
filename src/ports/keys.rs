//! The ring of signing keys in a store: a directory, or a table.

use async_trait::async_trait;
use secrecy::SecretString;

use super::StoreError;
use crate::domain::{
    keys::{KeyMetadata, MaxLifetimes},
    time::Moment,
};

/// A key as it is kept.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    /// What it is for.
    pub facts: KeyMetadata,
    /// The PEM text with its private part, encrypted or not.
    pub text: SecretString,
    /// Where it lies, for whoever has to repair it.
    pub place: String,
}

/// A key that must never be used again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RevokedKey {
    /// What it was for.
    pub facts: KeyMetadata,
    /// When it was revoked.
    pub at: Moment,
}

/// All that a store knows.
#[derive(Clone, Debug, Default)]
pub struct KeyRecords {
    /// Changes whenever anything else does.
    pub version: String,
    /// In the order of [`KeyFacts::order`].
    pub keys: Vec<KeyRecord>,
    /// In the same order.
    pub revoked: Vec<RevokedKey>,
    /// The longest lives of tokens that any server had, as far as it was noted.
    pub lives: MaxLifetimes,
    /// Keys that could not be read: they can still be revoked.
    pub unreadable: Vec<KeyMetadata>,
    /// What could not be read and why, a line each that names the place and what would be right.
    pub broken: Vec<String>,
}

/// A change of the ring.
#[derive(Clone, Debug)]
pub enum KeyChange {
    /// A new key.
    Add(KeyMetadata, SecretString),
    /// How long tokens live at the longest: noted, so that no key goes too early because a setting is another now.
    Lives(MaxLifetimes),
    /// Gone, and only a mark stays that it was there.
    Revoke(KeyMetadata, Moment),
    /// Gone.
    Remove(KeyMetadata),
    /// The same key, wrapped in another way.
    Rewrap(KeyMetadata, SecretString),
}

/// Where the ring is kept.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// The version of what [`read`](Self::read) would give: cheap enough for once a second.
    async fn version(&self) -> Result<String, StoreError>;

    /// Everything.
    async fn read(&self) -> Result<KeyRecords, StoreError>;

    /// Does all of `changes` if the version is still `seen`, else nothing. Whether it did: of many who try at once,
    /// one does.
    async fn change(&self, seen: &str, changes: &[KeyChange]) -> Result<bool, StoreError>;

    /// Marks a key as revoked without waiting for other changes of the ring. The mark is only added, and adding it
    /// twice has no effect. An error if the store does not support this.
    async fn mark_revoked(&self, facts: &KeyMetadata) -> Result<(), StoreError> {
        Err(StoreError::Failed(format!(
            "{} cannot be revoked apart from other changes",
            facts.kid
        )))
    }

    /// The setting that says where it is, for messages.
    fn setting(&self) -> &'static str;

    /// Whether private parts must not lie there as they are.
    fn wants_encryption(&self) -> bool {
        false
    }
}
