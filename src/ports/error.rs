//! What can go wrong with a store.

/// A store did not do what it was asked. It may have: after `Unavailable` nobody knows.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The store answered with an error that no request should cause.
    #[error("{0}")]
    Failed(String),
    /// Too many requests wait for the store. This one was not sent to it.
    #[error("too many requests wait for the store")]
    Overloaded,
    /// The store cannot be reached, or did not answer in time.
    #[error("{0}")]
    Unavailable(String),
}
