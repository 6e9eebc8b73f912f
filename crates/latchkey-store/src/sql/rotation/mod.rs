//! Rotation as a conditional write: one statement decides which of several concurrent requests
//! rotates a session: `RotateOne` on Postgres, `RotateBatch` with coalescing, or the one of SQLite.
//! `app/stores.rs` chooses.

mod attempt;
pub mod coalescing;
mod single_statement;
mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use diesel_async::RunQueryDsl as _;

use self::{
    attempt::{Attempt, RotatedRow},
    single_statement::RotateOne,
};
use super::{
    SqlStore,
    error::from_query,
    pool::{PoolKind, with_conn},
    postgres_pool::PostgresPool,
};
use latchkey_domain::{
    ports::{Clock, Rotation, RotationStore, StoreError},
    session::SessionState,
};

/// Rotates each session with a statement of its own.
#[async_trait]
impl RotationStore for SqlStore {
    async fn rotate(
        &self,
        rotation: Rotation,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<SessionState>, StoreError> {
        match &self.pool.kind {
            PoolKind::Postgres(pool) => {
                self.rotate_on_postgres(pool, rotation, clock.as_ref())
                    .await
            }
            PoolKind::Sqlite(pool) => self.rotate_on_sqlite(pool, rotation, clock.as_ref()).await,
        }
    }
}

impl SqlStore {
    async fn rotate_on_postgres(
        &self,
        pool: &PostgresPool,
        rotation: Rotation,
        clock: &dyn Clock,
    ) -> Result<Option<SessionState>, StoreError> {
        let (rotate, row): (RotateOne, Option<RotatedRow>) =
            with_conn!(pool.connections(), self.pool, |conn| {
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
