//! Moments and spans. Databases keep microseconds, tokens whole seconds; both are cut here and nowhere else.

use chrono::{DateTime, SubsecRound as _, Utc};

/// A moment in UTC.
pub type Moment = DateTime<Utc>;

/// `moment` as both databases can keep it: cut to microseconds.
#[must_use]
pub fn truncate_to_micros(moment: Moment) -> Moment {
    moment.trunc_subsecs(6)
}
