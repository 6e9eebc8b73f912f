//! Removal of keys whose tokens have all expired.

use chrono::TimeDelta;

use super::{KeyManager, KeysError, Plan};
use latchkey_crypto::key_ring::KeyRing;
use latchkey_domain::{
    audit::EventKind,
    keys::{KeyMetadata, KeyState, MaxLifetimes},
    ports::KeyChange,
};

/// Additional delay before automatic removal, in case the clock is wrong.
const PRUNE_DELAY: TimeDelta = TimeDelta::days(1);

impl KeyManager {
    /// Removes the keys whose tokens have all expired. The longest lifetimes that any server has
    /// recorded apply. Returns the removed keys.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn prune(&self) -> Result<Vec<KeyMetadata>, KeysError> {
        self.prune_by(self.rules.lives).await
    }

    /// Removes the same keys a day later. For automatic removal.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn prune_cautiously(&self) -> Result<Vec<KeyMetadata>, KeysError> {
        self.prune_by(self.cautious()).await
    }

    /// Returns true if automatic rotation is enabled and
    /// [`prune_cautiously`](Self::prune_cautiously) would remove a key.
    #[must_use]
    pub fn has_prunable(&self, ring: &KeyRing) -> bool {
        self.rules.interval.is_some() && !self.prunable(ring, self.cautious()).is_empty()
    }

    async fn prune_by(&self, lives: MaxLifetimes) -> Result<Vec<KeyMetadata>, KeysError> {
        self.change(|opened, _| {
            let outcome = self.prunable(&opened.ring, lives.longest(opened.records.lives));
            let changes = outcome.iter().cloned().map(KeyChange::Remove).collect();
            let events = outcome
                .iter()
                .map(|facts| self.event(EventKind::KeyPruned, facts))
                .collect();
            Ok(Plan {
                changes,
                events,
                outcome,
            })
        })
        .await
    }

    fn prunable(&self, ring: &KeyRing, lives: MaxLifetimes) -> Vec<KeyMetadata> {
        let states = ring.states(self.clock.now(), lives);
        states
            .filter(|(_, state)| *state == KeyState::Prunable)
            .map(|(key, _)| key.facts.clone())
            .collect()
    }

    fn cautious(&self) -> MaxLifetimes {
        let MaxLifetimes { access, refresh } = self.rules.lives;
        MaxLifetimes {
            access: access + PRUNE_DELAY,
            refresh: refresh + PRUNE_DELAY,
        }
    }
}
