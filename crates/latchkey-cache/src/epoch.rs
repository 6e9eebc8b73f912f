//! Format and ownership of cache epochs.
//!
//! A cache epoch has the form `DEPLOYMENT:REBUILD`. The first part is the deployment id in the
//! database. The second is created by the rebuild that finds no epoch, so a cache that was lost and
//! filled again has another value. An instance trusts only values that its own rebuild sealed, so
//! all entries that it relies on came from its own database. This also covers two copies of one
//! database, which share the deployment id.

use std::time::Duration;

use super::{clock_drift, key_names::BUCKETS};
use latchkey_domain::{ids::DeploymentId, ports::blacklist::MARGIN};

/// Lifetime of a cache epoch after its last renewal, and the time for which a process relies on its
/// last probe.
pub(super) const LIFETIME: Duration = Duration::from_mins(1);

/// Maximum of the leeway setting.
const LEEWAY: Duration = Duration::from_mins(1);

// A clock jump that expires an entry before its tokens also expires the epoch. Smaller jumps are
// detected by their sum.
const _: () = assert!(
    LIFETIME.as_secs() + 2 * clock_drift::TOLERANCE.as_secs() + LEEWAY.as_secs()
        < MARGIN.num_seconds().unsigned_abs(),
    "entries must outlive their tokens by more than the lifetime of an epoch"
);

/// Value that earlier versions stored. It names no deployment.
const UNNAMED: &str = "1";

/// Values with which a rebuild seals cache epochs.
pub(super) struct EpochName {
    /// Prefix of all values of this deployment.
    pub owner: String,
    /// Value to store if there is no epoch.
    pub new_value: String,
}

/// Cache epochs found, by bucket.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Epochs(Vec<Option<String>>);

impl Epochs {
    pub(super) fn set(&mut self, bucket: u8, value: Option<String>) {
        let index = usize::from(bucket);
        if self.0.len() <= index {
            self.0.resize(index + 1, None);
        }
        if let Some(epoch) = self.0.get_mut(index) {
            *epoch = value;
        }
    }

    pub(super) fn get(&self, bucket: u8) -> Option<&str> {
        self.0.get(usize::from(bucket))?.as_deref()
    }

    /// Returns true if every bucket has an epoch.
    pub(super) fn are_complete(&self) -> bool {
        (0..BUCKETS).all(|bucket| self.get(bucket).is_some())
    }

    /// Returns the first deployment other than `own` that an epoch names.
    pub(super) fn foreign_owner(&self, own: &DeploymentId) -> Option<&str> {
        self.0
            .iter()
            .flatten()
            .find(|value| *value != UNNAMED && owner(value) != own.as_str())
            .map(|value| owner(value))
    }
}

/// Returns the deployment that a value names.
fn owner(value: &str) -> &str {
    value.split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(values: &[&str]) -> Epochs {
        Epochs(
            values
                .iter()
                .map(|value| Some((*value).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn only_an_epoch_that_names_another_deployment_is_foreign() {
        let own = DeploymentId::new("ada");
        assert_eq!(epochs(&["ada:1", "1", "ada:2"]).foreign_owner(&own), None);
        assert_eq!(
            epochs(&["ada:1", "adam:1"]).foreign_owner(&own),
            Some("adam")
        );
        assert_eq!(epochs(&["bob"]).foreign_owner(&own), Some("bob"));
        assert_eq!(epochs(&[""]).foreign_owner(&own), Some(""));
    }

    #[test]
    fn epochs_are_complete_once_every_bucket_has_one() {
        let mut epochs = Epochs::default();
        for bucket in (0..BUCKETS).rev() {
            assert!(!epochs.are_complete());
            epochs.set(bucket, Some(bucket.to_string()));
        }
        assert!(epochs.are_complete());
        assert_eq!((epochs.get(3), epochs.get(BUCKETS)), (Some("3"), None));
        epochs.set(3, None);
        assert!(!epochs.are_complete());
    }
}
