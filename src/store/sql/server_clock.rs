//! The clock of a Postgres server, told by our own: a statement can be given a deadline that the server keeps.

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

use crate::{
    domain::time::Moment,
    ports::{Clock as _, clock::SystemClock},
};

/// By how many microseconds the server's clock is ahead. Measured on each new connection, so that a server that was
/// exchanged or whose clock was set is known again; cloning shares it.
#[derive(Clone, Default)]
pub(super) struct ServerClock(Arc<AtomicI64>);

impl ServerClock {
    /// Asks the server for its time. What lay between question and answer is divided evenly.
    pub(super) async fn measure(&self, connection: &mut AsyncPgConnection) -> QueryResult<()> {
        let before = SystemClock.now();
        let theirs: NaiveDateTime =
            select(sql::<Timestamp>("clock_timestamp() AT TIME ZONE 'UTC'"))
                .get_result(connection)
                .await?;
        let ours = before + (SystemClock.now() - before) / 2;
        let ahead = (theirs.and_utc() - ours)
            .num_microseconds()
            .unwrap_or_default();
        AtomicI64::store(&self.0, ahead, Ordering::Relaxed);
        Ok(())
    }

    /// When `timeout` from now will have passed, by the server's clock. It is the machine's time that passes here, as it does
    /// for whoever waits, and not that of the use cases.
    pub(super) fn deadline(&self, timeout: Duration) -> Moment {
        let ahead = TimeDelta::microseconds(AtomicI64::load(&self.0, Ordering::Relaxed));
        SystemClock.now() + ahead + TimeDelta::from_std(timeout).unwrap_or(TimeDelta::MAX)
    }
}
