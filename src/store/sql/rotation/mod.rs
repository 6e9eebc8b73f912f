//! Rotation: a conditional write. On Postgres those that come while others are under way go together, in one statement.

mod alone;
mod attempt;
mod by_two;
mod line;
mod together;
mod waiting;

use std::sync::Arc;

use diesel_async::RunQueryDsl as _;

use self::{
    alone::RotateAlone,
    attempt::{Attempt, Rotated},
};
use super::{SqlStore, error::from_query, pool::within, postgres_pool::Place};
use crate::{
    domain::session::SessionState,
    ports::{Clock, Rotation, StoreError},
};

pub(super) use waiting::{Rotations, Verdict};

impl SqlStore {
    /// Together with all others that wait; and if it was not done so, because somebody held its row or its condition
    /// does not hold, then alone, which decides.
    pub(super) async fn rotate_on_postgres(
        &self,
        place: &Place,
        rotation: Rotation,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<SessionState>, StoreError> {
        match place.rotations.rotate(rotation, clock).await? {
            Verdict::Rotated(state) => Ok(Some(*state)),
            Verdict::Left(rotation) => {
                Box::pin(self.rotate_alone(place, rotation, clock.as_ref())).await
            }
        }
    }

    async fn rotate_alone(
        &self,
        place: &Place,
        rotation: Rotation,
        clock: &dyn Clock,
    ) -> Result<Option<SessionState>, StoreError> {
        let (rotate, row): (RotateAlone, Option<Rotated>) =
            within!(&place.connections, self.pool.timeout, |conn| {
                let deadline = self.pool.server_clock.deadline(self.pool.timeout);
                let rotate = RotateAlone::new(Attempt::new(rotation, clock.now()), deadline);
                // All rows, of which there is one: the first comes before the commit.
                (&rotate)
                    .load(conn)
                    .await
                    .map(|mut rows| (rotate, rows.pop()))
            })?
            .map_err(from_query)?;
        row.map(|row| rotate.attempt.done(row)).transpose()
    }
}
