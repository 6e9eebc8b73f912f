//! Completion of use cases that write, regardless of the client.

use crate::{Error, admission::Admitted};

/// Runs a use case that writes to completion, even if the client disconnects. Without it, a
/// disconnection would drop the future of the handler, which could leave a rotation without its
/// entry. The use case counts as work in progress until it ends.
pub(super) async fn run_to_completion<T: Send + 'static>(
    admitted: Admitted,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    run_as_task(async move {
        let _admitted = admitted;
        work.await
    })
    .await
}

/// Runs a part of an admitted use case to completion.
pub(super) async fn run_as_task<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    tokio::spawn(work)
        .await
        .unwrap_or_else(|_| Err(Error::Internal("a use case panicked".to_owned())))
}
