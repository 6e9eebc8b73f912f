//! Completion of use cases that write, regardless of the client.

use std::sync::Arc;

use crate::{Auth, Error, admission::Admitted};

impl Auth {
    /// Runs a use case that writes to completion, even if the client disconnects. Without it, a
    /// disconnection would drop the future of the handler, which could leave a rotation without its
    /// entry. The use case counts as work in progress until it ends.
    pub(crate) async fn run_to_completion<T, F>(
        self: &Arc<Self>,
        admitted: Admitted,
        work: impl FnOnce(Arc<Self>) -> F,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let work = work(Arc::clone(self));
        let ended = tokio::spawn(async move {
            let _admitted = admitted;
            work.await
        });
        ended
            .await
            .unwrap_or_else(|_| Err(Error::Internal("a use case panicked".to_owned())))
    }
}
