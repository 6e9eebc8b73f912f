//! Time. Databases store microseconds, and tokens whole seconds.

use chrono::{DateTime, SubsecRound as _, Utc};

/// Moment in UTC.
pub type Moment = DateTime<Utc>;

/// Returns `moment` truncated to microseconds, the precision of both databases.
#[must_use]
pub fn truncate_to_micros(moment: Moment) -> Moment {
    moment.trunc_subsecs(6)
}
