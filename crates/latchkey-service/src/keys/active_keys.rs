//! Active keys: the key ring that this process uses. It is replaced as a whole when the stored ring
//! changes, without interrupting requests.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use arc_swap::{ArcSwap, Guard};
use aws_lc_rs::digest::{SHA256, digest};
use latchkey_verifier::{Checked, KeyError, Policy, Signed, Verifier, VerifyError};
use quick_cache::sync::Cache;

use latchkey_crypto::key_ring::{KeyRing, PublishedKeys};
use latchkey_domain::{keys::PROPAGATION, time::Moment};

/// Age in seconds of the last read of the key ring that counts as a fault. It is the time
/// within which each instance must notice a change.
const MAX_READ_AGE: u64 = PROPAGATION.num_seconds().unsigned_abs();

/// One key ring with its derived data.
pub struct Snapshot {
    /// All keys.
    pub ring: KeyRing,
    /// Public keys.
    pub published: PublishedKeys,
    /// Cache of tokens with a valid signature, without a time limit: an entry lives until it is
    /// evicted or the key ring is replaced. The key is the SHA-256 of the whole token, because two
    /// tokens may share a part.
    cache: Option<Cache<[u8; 32], Arc<Signed>>>,
    verifier: Verifier,
}

/// Key ring in use. Share it behind an `Arc`.
pub struct ActiveKeys {
    broken: AtomicBool,
    overdue: AtomicBool,
    /// Time of the last read of the store, in seconds since 1970.
    read_at: AtomicI64,
    current: ArcSwap<Snapshot>,
    policy: Policy,
    cache_capacity: usize,
}

impl ActiveKeys {
    /// Returns active keys with this ring. Tokens are verified by `policy`. `cache_capacity` is the
    /// capacity of the signature cache, where 0 disables it.
    ///
    /// # Errors
    /// The keys cannot be used together.
    pub fn new(ring: KeyRing, policy: Policy, cache_capacity: usize) -> Result<Self, KeyError> {
        let current = ArcSwap::from_pointee(Snapshot::new(ring, &policy, cache_capacity)?);
        let (broken, overdue, read_at) = Default::default();
        Ok(Self {
            broken,
            overdue,
            read_at,
            current,
            policy,
            cache_capacity,
        })
    }

    /// Replaces the key ring.
    ///
    /// # Errors
    /// The keys cannot be used together. The previous ring remains in use.
    pub fn replace(&self, ring: KeyRing) -> Result<(), KeyError> {
        self.current.store(Arc::new(Snapshot::new(
            ring,
            &self.policy,
            self.cache_capacity,
        )?));
        Ok(())
    }

    /// Returns the present ring. Callers must not hold it across an `await`, so that the next
    /// request sees the next ring.
    #[must_use]
    pub fn current(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// Returns the policy for tokens, which does not depend on the keys.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns true if the stored ring has unusable keys, or if a due key could not be created.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed) || self.overdue.load(Ordering::Relaxed)
    }

    /// Returns the seconds since the last read of the stored ring. A key that was revoked in that
    /// time is still accepted.
    #[must_use]
    pub fn seconds_since_read(&self, now: Moment) -> u64 {
        let age = now
            .timestamp()
            .saturating_sub(self.read_at.load(Ordering::Relaxed));
        u64::try_from(age).unwrap_or_default()
    }

    /// Returns true if the last read of the store is recent.
    #[must_use]
    pub fn is_watched(&self, now: Moment) -> bool {
        self.seconds_since_read(now) <= MAX_READ_AGE
    }

    pub(crate) fn record_read(&self, now: Moment) {
        self.read_at.store(now.timestamp(), Ordering::Relaxed);
    }

    pub(crate) fn record_overdue(&self, overdue: bool) {
        self.overdue.store(overdue, Ordering::Relaxed);
    }

    pub(crate) fn record_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
    }

    /// Verifies a token that is usually presented once, such as a refresh token.
    pub(crate) fn verify(&self, token: &str, now: Moment) -> Result<Checked, VerifyError> {
        self.current().verifier.check(token, now.timestamp())
    }

    /// Verifies a token that may be presented repeatedly. Only the signature is cached: times are
    /// checked each time.
    pub(crate) fn verify_cached(&self, token: &str, now: Moment) -> Result<Checked, VerifyError> {
        let current = self.current();
        let Some(cache) = &current.cache else {
            return current.verifier.check(token, now.timestamp());
        };
        let hash: [u8; 32] = digest(&SHA256, token.as_bytes())
            .as_ref()
            .try_into()
            .unwrap_or_default();
        let signed = if let Some(signed) = cache.get(&hash) {
            signed
        } else {
            let signed = Arc::new(current.verifier.check_signature(token)?);
            cache.insert(hash, Arc::clone(&signed));
            signed
        };
        current.verifier.check_claims(signed, now.timestamp())
    }
}

impl Snapshot {
    fn new(ring: KeyRing, policy: &Policy, cache_capacity: usize) -> Result<Self, KeyError> {
        let verifier = Verifier::new(ring.key_set()?, policy.clone());
        let cache = (cache_capacity > 0).then(|| Cache::new(cache_capacity));
        Ok(Self {
            published: ring.published(),
            cache,
            verifier,
            ring,
        })
    }
}
