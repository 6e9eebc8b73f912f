//! Use cases that write run to their end.

use std::sync::Arc;

use super::{Auth, Error, admission::Admitted};

impl Auth {
    /// Runs a use case that writes to its end, also when the client goes away: the web server drops the handler then, and
    /// a rotation without its mark would be half of one. Until then it counts as work in progress.
    pub(super) async fn to_the_end<T, F>(
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
        ended.await.unwrap_or_else(|_| Err(Error::Internal("a use case panicked".to_owned())))
    }
}
