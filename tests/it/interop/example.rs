//! Example of `latchkey-verifier`, built once in the target directory of the tests.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use super::verifier::run;

/// Returns the program. It is built with the features of the workspace, so the build of
/// `scripts/test` is reused.
pub fn built() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([
            "build",
            "--quiet",
            "--locked",
            "--workspace",
            "--example",
            "verify",
            "--target-dir",
        ]);
        cargo.arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
        run(&mut cargo, "the dependencies of the workspace");
        target.join("debug/examples/verify")
    })
}
