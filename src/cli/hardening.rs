//! Protection of secrets in memory.

/// Disables core dumps of this process. A dump would copy private keys, passwords and tokens to a
/// file or to a crash handler.
///
/// On Linux, other processes of the same user can then neither attach to this process nor read its
/// memory and environment. If the kernel refuses, the command runs without this protection.
pub(super) fn forbid_core_dumps() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{
            DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit,
        };

        let _ = setrlimit(
            Resource::Core,
            Rlimit {
                current: Some(0),
                maximum: Some(0),
            },
        );
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}
