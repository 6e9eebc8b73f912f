//! Rotation: a conditional write. On Postgres those that come while others are under way go together, in one statement.

mod attempt;
mod batch_queue;
mod batch_statement;
mod coalescer;
mod single_statement;
mod sqlite;

use std::sync::Arc;

use diesel_async::RunQueryDsl as _;

use self::{
    attempt::{Attempt, RotatedRow},
    single_statement::RotateOne,
};
use super::{SqlStore, error::from_query, pool::with_conn, postgres_pool::WorkerPool};
use crate::{
    domain::session::SessionState,
    ports::{Clock, Rotation, StoreError},
};

pub(super) use coalescer::{BatchOutcome, RotationCoalescer};

impl SqlStore {
    /// Together with all others that wait; and if it was not done so, because somebody held its row or its condition
    /// does not hold, then alone, which decides.
    pub(super) async fn rotate_on_postgres(
        &self,
        place: &WorkerPool,
        rotation: Rotation,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<SessionState>, StoreError> {
        match place.rotations.rotate(rotation, clock).await? {
            BatchOutcome::Rotated(state) => Ok(Some(*state)),
            BatchOutcome::NotInBatch(rotation) => {
                Box::pin(self.rotate_one(place, rotation, clock.as_ref())).await
            }
        }
    }

    async fn rotate_one(
        &self,
        place: &WorkerPool,
        rotation: Rotation,
        clock: &dyn Clock,
    ) -> Result<Option<SessionState>, StoreError> {
        let (rotate, row): (RotateOne, Option<RotatedRow>) =
            with_conn!(&place.connections, self.pool.timeout, |conn| {
                let deadline = self.pool.server_clock.deadline(self.pool.timeout);
                let rotate = RotateOne::new(Attempt::new(rotation, clock.now()), deadline);
                // All rows, of which there is one: the first comes before the commit.
                (&rotate)
                    .load(conn)
                    .await
                    .map(|mut rows| (rotate, rows.pop()))
            })?
            .map_err(from_query)?;
        row.map(|row| rotate.attempt.into_state(row)).transpose()
    }
}
