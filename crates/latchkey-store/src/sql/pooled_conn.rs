//! Connection borrowed from a pool.

use deadpool::managed::Manager;
use diesel_async::{
    AsyncConnection, AsyncPgConnection,
    pooled_connection::{
        AsyncDieselConnectionManager, PoolError,
        deadpool::{Object, Pool},
    },
};

use super::{error::from_pool, sqlite::AsyncSqliteConnection};
use latchkey_domain::ports::StoreError;

/// Maximum of requests that wait for a connection of one pool. Longer queues would exceed the
/// timeouts of clients. Background tasks may wait in twice as long a queue, so that requests do not
/// starve them.
pub(super) const QUEUE_CAPACITY: usize = 256;

/// Returns the connection to the pool when dropped, unless its last statement may still be running.
pub(super) struct PooledConn<C: CancelSafe>
where
    AsyncDieselConnectionManager<C>: Manager<Type = C, Error = PoolError>,
{
    object: Option<Object<C>>,
    is_reusable: bool,
}

/// Behaviour of a connection after a cancelled statement, whose client has disconnected.
pub(super) trait CancelSafe: AsyncConnection + 'static {
    /// True if the connection can be used again.
    const REUSABLE_AFTER_CANCEL: bool;
}

/// The driver reads the reply and discards it.
impl CancelSafe for AsyncPgConnection {
    const REUSABLE_AFTER_CANCEL: bool = true;
}

/// A thread still executes the statement.
impl CancelSafe for AsyncSqliteConnection {
    const REUSABLE_AFTER_CANCEL: bool = false;
}

impl<C: CancelSafe> PooledConn<C>
where
    AsyncDieselConnectionManager<C>: Manager<Type = C, Error = PoolError>,
{
    /// Takes a connection from the pool, unless `queue_capacity` requests wait already.
    pub(super) async fn from_pool(
        pool: &Pool<C>,
        queue_capacity: usize,
    ) -> Result<Self, StoreError> {
        if pool.status().waiting >= queue_capacity {
            return Err(StoreError::Overloaded);
        }
        let object = pool.get().await.map_err(from_pool)?;
        Ok(Self {
            object: Some(object),
            is_reusable: C::REUSABLE_AFTER_CANCEL,
        })
    }

    pub(super) fn connection(&mut self) -> Result<&mut C, StoreError> {
        let connection = self.object.as_deref_mut();
        connection
            .ok_or_else(|| StoreError::Failed("the connection was returned to the pool".to_owned()))
    }

    /// Releases the connection. After a timeout it is closed, because the server may be dead.
    pub(super) fn release(mut self, in_time: bool) {
        self.is_reusable = in_time;
    }
}

impl<C: CancelSafe> Drop for PooledConn<C>
where
    AsyncDieselConnectionManager<C>: Manager<Type = C, Error = PoolError>,
{
    fn drop(&mut self) {
        if let Some(object) = self.object.take()
            && !self.is_reusable
        {
            drop(Object::take(object));
        }
    }
}
