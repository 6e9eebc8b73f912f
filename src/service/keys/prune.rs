//! Keys whose tokens have all expired.

use chrono::TimeDelta;

use super::{KeyManager, KeysError, Plan};
use crate::{
    crypto::key_ring::KeyRing,
    domain::{
        audit::EventKind,
        keys::{KeyMetadata, KeyState, MaxLifetimes},
    },
    ports::KeyChange,
};

/// How much longer the service itself waits: its clock may be wrong, and nobody looks over its shoulder.
const PRUNE_DELAY: TimeDelta = TimeDelta::days(1);

impl KeyManager {
    /// Removes the keys whose tokens have all expired, by the longest lives that any server ever had. What they were.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn prune(&self) -> Result<Vec<KeyMetadata>, KeysError> {
        self.prune_by(self.rules.lives).await
    }

    /// The same a day later, where the service itself makes keys.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn prune_cautiously(&self) -> Result<Vec<KeyMetadata>, KeysError> {
        self.prune_by(self.cautious()).await
    }

    /// Whether [`prune_cautiously`](Self::prune_cautiously) would find any.
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
