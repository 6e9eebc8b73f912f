//! Use cases that write run to their end.

use super::error::HttpError;
use crate::service::Error;

/// Runs a use case that writes to its end, also when the client goes away: actix drops the handler then, and a
/// rotation without its mark would be half of one.
pub(super) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(_) => Err(Error::Internal("a use case panicked".to_owned())),
    }
}

/// The same for a view that people use who are signed in.
pub(super) async fn protected<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, HttpError> {
    to_the_end(work).await.map_err(HttpError::AccessToken)
}
