//! A connection that a pool has lent.

use deadpool::managed::Manager;
use diesel_async::{
    AsyncConnection, AsyncPgConnection,
    pooled_connection::{
        AsyncDieselConnectionManager, PoolError,
        deadpool::{Object, Pool},
    },
};

use super::{error::from_pool, sqlite::AsyncSqliteConnection};
use crate::{ports::StoreError, store::thread};

/// The maximum number of requests that wait for a connection of one pool. With more, requests would wait longer than
/// clients do.
const QUEUE_CAPACITY: usize = 256;

/// Gives the connection back when it is dropped, unless something of the last statement is still under way in it.
pub(super) struct PooledConn<C: CancelSafe>
where
    AsyncDieselConnectionManager<C>: Manager<Type = C, Error = PoolError>,
{
    object: Option<Object<C>>,
    returns: bool,
}

/// What becomes of a connection whose statement nobody waits for any more, because the client went away.
pub(super) trait CancelSafe: AsyncConnection + 'static {
    /// Whether it can be used again.
    const REUSABLE_AFTER_CANCEL: bool;
}

/// The driver reads the answer and throws it away.
impl CancelSafe for AsyncPgConnection {
    const REUSABLE_AFTER_CANCEL: bool = true;
}

/// A thread still works with it.
impl CancelSafe for AsyncSqliteConnection {
    const REUSABLE_AFTER_CANCEL: bool = false;
}

impl<C: CancelSafe> PooledConn<C>
where
    AsyncDieselConnectionManager<C>: Manager<Type = C, Error = PoolError>,
{
    pub(super) async fn from_pool(pool: &Pool<C>) -> Result<Self, StoreError> {
        // If all threads share a pool, work other than requests keeps some room.
        let room = if thread::has_own_runtime() {
            QUEUE_CAPACITY
        } else {
            2 * QUEUE_CAPACITY
        };
        if pool.status().waiting >= room {
            return Err(StoreError::Overloaded);
        }
        let object = pool.get().await.map_err(from_pool)?;
        Ok(Self {
            object: Some(object),
            returns: C::REUSABLE_AFTER_CANCEL,
        })
    }

    pub(super) fn connection(&mut self) -> Result<&mut C, StoreError> {
        let connection = self.object.as_deref_mut();
        connection.ok_or_else(|| StoreError::Failed("the connection was given back".to_owned()))
    }

    /// A statement that did not end in time may never end: behind the connection there may be nobody any more.
    pub(super) fn release(mut self, in_time: bool) {
        self.returns = in_time;
    }
}

impl<C: CancelSafe> Drop for PooledConn<C>
where
    AsyncDieselConnectionManager<C>: Manager<Type = C, Error = PoolError>,
{
    fn drop(&mut self) {
        if let Some(object) = self.object.take()
            && !self.returns
        {
            drop(Object::take(object));
        }
    }
}
