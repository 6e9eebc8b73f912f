//! Creation of keys: the first ones, those requested by an operator, and those that are due.

use latchkey_verifier::{Algorithm, Kind};

use super::{ATTEMPTS, KeyManager, KeysError, Opened, Plan, generate::Activation};
use latchkey_crypto::{key_ring::KeyRing, passphrase::Passphrase};
use latchkey_domain::{
    audit::EventKind,
    keys::{self, KeyMetadata},
    ports::KeyChange,
};

/// Request for a new key.
#[derive(Clone, Copy, Debug)]
pub struct Rotate {
    /// Kind of tokens that the key signs.
    pub kind: Kind,
    /// Signature algorithm, by default that of the settings.
    pub algorithm: Option<Algorithm>,
    /// True to sign at once, before verifiers have fetched the key.
    pub now: bool,
}

impl KeyManager {
    /// Creates missing keys, and returns them. A key for access tokens is missing if the newest one
    /// has another algorithm than the settings, unless that key is rotated manually. A secret for
    /// refresh tokens is missing if there is none.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn ensure(&self) -> Result<Vec<KeyMetadata>, KeysError> {
        self.change(|opened, passphrase| {
            let mut wanted = Vec::new();
            match opened.ring.newest(Kind::Access) {
                Some(newest)
                    if newest.successor_by_hand
                        || newest.facts.algorithm == self.rules.algorithm => {}
                Some(_) => wanted.push((Kind::Access, self.rules.algorithm, "algorithm_changed")),
                None => wanted.push((Kind::Access, self.rules.algorithm, "first")),
            }
            if opened.ring.newest(Kind::Refresh).is_none() {
                wanted.push((Kind::Refresh, Algorithm::Hs256, "first"));
            }
            self.plan(opened, &wanted, Activation::AfterLead, passphrase)
        })
        .await
    }

    /// Records the lifetimes of tokens of this server, if they exceed the recorded ones.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn record_lifetimes(&self) -> Result<(), KeysError> {
        for _ in 0..ATTEMPTS {
            let records = self.read().await?;
            let lives = records.lives.longest(self.rules.lives);
            let changes = if lives == records.lives {
                Vec::new()
            } else {
                vec![KeyChange::Lives(lives)]
            };
            let plan = Plan {
                changes,
                events: Vec::new(),
                outcome: (),
            };
            if self.attempt(&records, plan).await?.is_some() {
                return Ok(());
            }
        }
        Err(KeysError::Busy)
    }

    /// Creates one key, which signs after the publish lead or at once.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn rotate(&self, order: Rotate) -> Result<KeyMetadata, KeysError> {
        let algorithm = match order.kind {
            Kind::Access => order.algorithm.unwrap_or(self.rules.algorithm),
            Kind::Refresh => Algorithm::Hs256,
        };
        let begin = if order.now {
            Activation::AtOnce
        } else {
            Activation::AfterLead
        };
        let created = self
            .change(|opened, passphrase| {
                Self::ensure_capacity(&opened.records)?;
                self.plan(
                    opened,
                    &[(order.kind, algorithm, "rotated")],
                    begin,
                    passphrase,
                )
            })
            .await?;
        created.into_iter().next().ok_or(KeysError::Busy)
    }

    /// Returns true if the successor of a key is due.
    #[must_use]
    pub fn is_due(&self, ring: &KeyRing) -> bool {
        !self.due(ring).is_empty()
    }

    /// Creates the successors that are due, and returns them.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn rotate_due(&self) -> Result<Vec<KeyMetadata>, KeysError> {
        self.change(|opened, passphrase| {
            let algorithm = |kind| {
                if kind == Kind::Access {
                    self.rules.algorithm
                } else {
                    Algorithm::Hs256
                }
            };
            let wanted: Vec<_> = self
                .due(&opened.ring)
                .iter()
                .map(|kind| (*kind, algorithm(*kind), "due"))
                .collect();
            self.plan(opened, &wanted, Activation::AfterLead, passphrase)
        })
        .await
    }

    fn due(&self, ring: &KeyRing) -> Vec<Kind> {
        let Some(interval) = self.rules.interval else {
            return Vec::new();
        };
        let now = self.clock.now();
        let is_due = |kind: &Kind| {
            let newest = ring
                .newest(*kind)
                .filter(|newest| !newest.successor_by_hand)
                .map(|newest| newest.facts.signs_from);
            newest.is_some_and(|newest| keys::is_due(newest, interval, self.rules.lead, now))
        };
        [Kind::Access, Kind::Refresh]
            .into_iter()
            .filter(is_due)
            .collect()
    }

    fn plan(
        &self,
        opened: &Opened,
        wanted: &[(Kind, Algorithm, &'static str)],
        begin: Activation,
        passphrase: Option<&Passphrase>,
    ) -> Result<Plan<Vec<KeyMetadata>>, KeysError> {
        Self::ensure_capacity_for(&opened.records, wanted.len())?;
        let mut plan = Plan::nothing(Vec::new());
        for (kind, algorithm, cause) in wanted {
            let (facts, text) =
                self.generate(&opened.records, (*kind, *algorithm), begin, passphrase)?;
            plan.events
                .push(self.event(EventKind::KeyCreated, &facts).with_cause(cause));
            plan.changes.push(KeyChange::Add(facts.clone(), text));
            plan.outcome.push(facts);
        }
        Ok(plan)
    }
}
