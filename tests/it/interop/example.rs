//! The example of `latchkey-verifier`, built once into the same target directory as the tests.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use super::verifier::run;

/// The program. With the features of the whole workspace, as `scripts/test` builds it: mostly it is there already.
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
        run(&mut cargo, "all that the workspace is built from");
        target.join("debug/examples/verify")
    })
}
