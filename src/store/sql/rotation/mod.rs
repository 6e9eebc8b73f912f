//! Rotation as a conditional write. On Postgres, concurrent rotations share a statement.

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
    /// Rotates in a batch. If the batch did not rotate the session, because another transaction
    /// holds its row or its condition failed, a single statement decides.
    pub(super) async fn rotate_on_postgres(
        &self,
        worker_pool: &WorkerPool,
        rotation: Rotation,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<SessionState>, StoreError> {
        match worker_pool.rotations.rotate(rotation, clock).await? {
            BatchOutcome::Rotated(state) => Ok(Some(*state)),
            BatchOutcome::NotInBatch(rotation) => {
                Box::pin(self.rotate_one(worker_pool, rotation, clock.as_ref())).await
            }
        }
    }

    async fn rotate_one(
        &self,
        worker_pool: &WorkerPool,
        rotation: Rotation,
        clock: &dyn Clock,
    ) -> Result<Option<SessionState>, StoreError> {
        let (rotate, row): (RotateOne, Option<RotatedRow>) =
            with_conn!(&worker_pool.connections, self.pool.timeout, |conn| {
                let deadline = self.pool.server_clock.deadline(self.pool.timeout);
                let rotate = RotateOne::new(Attempt::new(rotation, clock.now()), deadline);
                // All rows are loaded, although there is one at most: the first row arrives before
                // the commit.
                (&rotate)
                    .load(conn)
                    .await
                    .map(|mut rows| (rotate, rows.pop()))
            })?
            .map_err(from_query)?;
        row.map(|row| rotate.attempt.into_state(row)).transpose()
    }
}
