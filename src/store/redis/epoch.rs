//! The value of an epoch: the deployment that owns the memory, and the memory.
//!
//! `DEPLOYMENT:MEMORY`. The first part is the id in the database. The second is created by the rebuild that finds no
//! epoch, so a memory that was lost and filled again has another value. An instance trusts only values that its own
//! rebuild has sealed, so all entries that it relies on came from its own database. This also covers two copies of one
//! database, which have the same id.

use std::time::Duration;

use super::{clock_drift, key_names::BUCKETS};
use crate::{domain::ids::DeploymentId, ports::blacklist::MARGIN};

/// The life of an epoch after its last renewal, and the time for which a process trusts its last look.
pub(super) const LIFETIME: Duration = Duration::from_mins(1);

/// The maximum of the leeway setting.
const LEEWAY: Duration = Duration::from_mins(1);

// A jump of the clock that ends an entry before its tokens also ends the epoch. The sum of smaller jumps is noticed.
const _: () = assert!(
    LIFETIME.as_secs() + 2 * clock_drift::TOLERANCE.as_secs() + LEEWAY.as_secs()
        < MARGIN.num_seconds().unsigned_abs(),
    "entries must outlive their tokens by more than an epoch lives"
);

/// The value that earlier versions set. It names no deployment.
const UNNAMED: &str = "1";

/// The values with which a rebuild seals epochs.
pub(super) struct EpochName {
    /// The prefix of all values of this deployment.
    pub owner: String,
    /// The value to set if there is no epoch.
    pub new_value: String,
}

/// The values found, by bucket.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Epochs(Vec<Option<String>>);

impl Epochs {
    pub(super) fn note(&mut self, bucket: u8, value: Option<String>) {
        let place = usize::from(bucket);
        if self.0.len() <= place {
            self.0.resize(place + 1, None);
        }
        if let Some(epoch) = self.0.get_mut(place) {
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
    fn an_epoch_of_another_deployment_is_foreign_and_one_without_a_name_is_not() {
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
    fn epochs_are_complete_when_every_bucket_has_one() {
        let mut epochs = Epochs::default();
        for bucket in (0..BUCKETS).rev() {
            assert!(!epochs.are_complete());
            epochs.note(bucket, Some(bucket.to_string()));
        }
        assert!(epochs.are_complete());
        assert_eq!((epochs.get(3), epochs.get(BUCKETS)), (Some("3"), None));
        epochs.note(3, None);
        assert!(!epochs.are_complete());
    }
}
