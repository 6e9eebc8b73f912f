//! The keys that are used just now: exchanged as a whole when the ring changes, while requests go on.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use arc_swap::{ArcSwap, Guard};
use aws_lc_rs::digest::{SHA256, digest};
use latchkey_verifier::{Checked, KeyError, Policy, Signed, Verifier, VerifyError};
use quick_cache::sync::Cache;

use crate::{
    crypto::key_ring::{KeyRing, PublishedKeys},
    domain::{keys::PROPAGATION, time::Moment},
};

/// The number of seconds without a look at the ring that count as a fault. It is the time that an instance may take to
/// notice a change.
const MAX_READ_AGE: u64 = PROPAGATION.num_seconds().unsigned_abs();

/// One ring, and what follows from it.
pub struct Snapshot {
    /// The keys.
    pub ring: KeyRing,
    /// The public ones.
    pub published: PublishedKeys,
    /// Tokens whose signature was checked with these keys, by the hash of the whole token: never by a part of it, which
    /// another token may share.
    seen: Option<Cache<[u8; 32], Arc<Signed>>>,
    verifier: Verifier,
}

/// The ring in force. Share it behind an `Arc`.
pub struct ActiveKeys {
    broken: AtomicBool,
    overdue: AtomicBool,
    /// The time of the last look at the store, in seconds since 1970.
    looked_at: AtomicI64,
    current: ArcSwap<Snapshot>,
    policy: Policy,
    remembered: usize,
}

impl ActiveKeys {
    /// With this ring to begin with; tokens are checked by `policy`, and of as many as `remembered` it is known that their
    /// signature holds.
    ///
    /// # Errors
    /// When the keys cannot be used together.
    pub fn new(ring: KeyRing, policy: Policy, remembered: usize) -> Result<Self, KeyError> {
        let current = ArcSwap::from_pointee(Snapshot::new(ring, &policy, remembered)?);
        let (broken, overdue, looked_at) = Default::default();
        Ok(Self {
            broken,
            overdue,
            looked_at,
            current,
            policy,
            remembered,
        })
    }

    /// From now on, this ring.
    ///
    /// # Errors
    /// When the keys cannot be used together; the ring in force stays.
    pub fn replace(&self, ring: KeyRing) -> Result<(), KeyError> {
        self.current.store(Arc::new(Snapshot::new(
            ring,
            &self.policy,
            self.remembered,
        )?));
        Ok(())
    }

    /// What is in force. Do not keep it across an `await`: the next request shall see the next ring.
    #[must_use]
    pub fn current(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// What tokens are checked by, whatever the keys.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether something in the ring that lies in the store cannot be used, or a key that is due cannot be made.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed) || self.overdue.load(Ordering::Relaxed)
    }

    /// Returns the seconds since the last look at the ring in the store; a key that was revoked since then is still accepted.
    #[must_use]
    pub fn seconds_since_read(&self, now: Moment) -> u64 {
        let age = now
            .timestamp()
            .saturating_sub(self.looked_at.load(Ordering::Relaxed));
        u64::try_from(age).unwrap_or_default()
    }

    /// Returns true while the looks at the store succeed.
    #[must_use]
    pub fn is_watched(&self, now: Moment) -> bool {
        self.seconds_since_read(now) <= MAX_READ_AGE
    }

    pub(super) fn record_read(&self, now: Moment) {
        self.looked_at.store(now.timestamp(), Ordering::Relaxed);
    }

    pub(super) fn record_overdue(&self, overdue: bool) {
        self.overdue.store(overdue, Ordering::Relaxed);
    }

    pub(super) fn record_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
    }

    /// A token that is presented once, as a rule: a refresh token.
    pub(super) fn verify(&self, token: &str, now: Moment) -> Result<Checked, VerifyError> {
        self.current().verifier.check(token, now.timestamp())
    }

    /// A token that may be presented again and again. Only the signature is remembered: times are checked every time.
    pub(super) fn verify_cached(&self, token: &str, now: Moment) -> Result<Checked, VerifyError> {
        let current = self.current();
        let Some(seen) = &current.seen else {
            return current.verifier.check(token, now.timestamp());
        };
        let hash: [u8; 32] = digest(&SHA256, token.as_bytes())
            .as_ref()
            .try_into()
            .unwrap_or_default();
        let signed = if let Some(signed) = seen.get(&hash) {
            signed
        } else {
            let signed = Arc::new(current.verifier.check_signature(token)?);
            seen.insert(hash, Arc::clone(&signed));
            signed
        };
        current.verifier.check_claims(signed, now.timestamp())
    }
}

impl Snapshot {
    fn new(ring: KeyRing, policy: &Policy, remembered: usize) -> Result<Self, KeyError> {
        let verifier = Verifier::new(ring.key_set()?, policy.clone());
        let seen = (remembered > 0).then(|| Cache::new(remembered));
        Ok(Self {
            published: ring.published(),
            seen,
            verifier,
            ring,
        })
    }
}
