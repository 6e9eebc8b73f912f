//! Detection of worker threads.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Returns true if this thread has its own runtime, like the workers of the web server. A
/// connection driven by the same thread needs no wake-up of another thread.
pub(super) fn has_own_runtime() -> bool {
    Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::CurrentThread)
}
