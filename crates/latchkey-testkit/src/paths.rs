//! Folders of the repository and of its build.

use std::{
    env,
    path::{Path, PathBuf},
};

/// Returns the root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap()
}

/// Returns the program `latchkey` of this build, which is beside this program or, for a test, in
/// the folder above.
pub fn program() -> PathBuf {
    build().join("latchkey")
}

/// Returns the target directory of this build.
pub fn target() -> PathBuf {
    build().parent().unwrap().to_owned()
}

/// Returns the folder of this build's profile, such as `target/debug`.
fn build() -> PathBuf {
    let mut folder = env::current_exe().unwrap();
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    folder
}
