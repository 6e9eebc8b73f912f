//! Which connections a thread uses.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Whether this thread has a runtime to itself, as those of the web server do. Connections that it drives itself need
/// nobody to be woken for a question or an answer.
pub(super) fn has_own_runtime() -> bool {
    Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::CurrentThread)
}
