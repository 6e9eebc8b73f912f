//! Estimate of a Postgres server's clock, so that statements can carry a deadline.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{NaiveDateTime, TimeDelta};
use diesel::{QueryResult, dsl::sql, select, sql_types::Timestamp};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use latchkey_domain::{
    ports::{Clock as _, clock::SystemClock},
    time::Moment,
};

/// Offset of the server's clock in microseconds. Measured on each new connection, so that it
/// follows a replaced server or a changed clock. Clones share it.
#[derive(Clone, Default)]
pub(super) struct ServerClock(Arc<AtomicI64>);

impl ServerClock {
    /// Measures the offset. Assumes that half of the round trip passed before the server read its
    /// clock.
    pub(super) async fn measure(&self, connection: &mut AsyncPgConnection) -> QueryResult<()> {
        let before = SystemClock.now();
        let server_time: NaiveDateTime =
            select(sql::<Timestamp>("clock_timestamp() AT TIME ZONE 'UTC'"))
                .get_result(connection)
                .await?;
        let local_time = before + (SystemClock.now() - before) / 2;
        let offset = (server_time.and_utc() - local_time)
            .num_microseconds()
            .unwrap_or_default();
        AtomicI64::store(&self.0, offset, Ordering::Relaxed);
        Ok(())
    }

    /// Returns the server's time at which `timeout` from now ends. Uses the clock of the machine
    /// and not that of the use cases, because the client waits in real time.
    pub(super) fn deadline(&self, timeout: Duration) -> Moment {
        let offset = TimeDelta::microseconds(AtomicI64::load(&self.0, Ordering::Relaxed));
        SystemClock.now() + offset + TimeDelta::from_std(timeout).unwrap_or(TimeDelta::MAX)
    }
}
