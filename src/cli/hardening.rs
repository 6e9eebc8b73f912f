//! Keeps secrets in memory out of files.

/// Switches core dumps of this process off. A dump would hold private keys, passwords and tokens, in a file or with a program
/// that the kernel hands it to.
///
/// On Linux other processes of the same user can no longer attach to this one or read its memory and environment either.
/// Where the kernel refuses, the command goes on as it would without.
pub(super) fn forbid_core_dumps() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}
