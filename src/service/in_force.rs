//! The keys that are used just now: exchanged as a whole when the ring changes, while requests go on.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::{ArcSwap, Guard};
use latchkey_verifier::{Checked, KeyError, Policy, Refusal, Verifier};

use crate::{
    crypto::keyring::{Keyring, PublishedKeys},
    domain::time::Moment,
};

/// One ring, and what follows from it.
pub struct Current {
    /// The keys.
    pub ring: Keyring,
    /// The public ones.
    pub published: PublishedKeys,
    verifier: Verifier,
}

/// The ring in force. Share it behind an `Arc`.
pub struct KeysInForce {
    broken: AtomicBool,
    current: ArcSwap<Current>,
    policy: Policy,
}

impl KeysInForce {
    /// With this ring to begin with; tokens are checked by `policy`.
    ///
    /// # Errors
    /// When the keys cannot be used together.
    pub fn new(ring: Keyring, policy: Policy) -> Result<Self, KeyError> {
        let current = ArcSwap::from_pointee(Current::new(ring, &policy)?);
        Ok(Self { broken: AtomicBool::new(false), current, policy })
    }

    /// From now on, this ring.
    ///
    /// # Errors
    /// When the keys cannot be used together; the ring in force stays.
    pub fn put(&self, ring: Keyring) -> Result<(), KeyError> {
        self.current.store(Arc::new(Current::new(ring, &self.policy)?));
        Ok(())
    }

    /// What is in force. Do not keep it across an `await`: the next request shall see the next ring.
    #[must_use]
    pub fn current(&self) -> Guard<Arc<Current>> {
        self.current.load()
    }

    /// What tokens are checked by, whatever the keys.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether the ring that lies in the store is another, and cannot be used.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    pub(super) fn note_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
    }

    /// The one call of the verifier.
    pub(super) fn check(&self, token: &str, now: Moment) -> Result<Checked, Refusal> {
        self.current().verifier.check(token, now.timestamp())
    }
}

impl Current {
    fn new(ring: Keyring, policy: &Policy) -> Result<Self, KeyError> {
        let verifier = Verifier::new(ring.key_set()?, policy.clone());
        Ok(Self { published: ring.published(), verifier, ring })
    }
}
