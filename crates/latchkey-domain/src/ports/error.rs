//! Errors of stores.

/// Failure of a store operation. After `Unavailable`, the operation may or may not have taken
/// effect.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The store returned an error that no request should cause.
    #[error("{0}")]
    Failed(String),
    /// Too many requests wait for the store. This one was not sent.
    #[error("too many requests wait for the store")]
    Overloaded,
    /// The store is unreachable or did not reply in time.
    #[error("{0}")]
    Unavailable(String),
}
