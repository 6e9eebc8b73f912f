//! The time as a parameter.

use crate::domain::time::Moment;

/// Says what time it is.
pub trait Clock: Send + Sync {
    /// Now, in UTC.
    fn now(&self) -> Moment;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the clock"
    )]
    fn now(&self) -> Moment {
        chrono::Utc::now()
    }
}
