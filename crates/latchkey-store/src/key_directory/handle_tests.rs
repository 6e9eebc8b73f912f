//! Tests of a directory that changes or is replaced while it is open.

use std::os::unix::fs::symlink;

use super::*;

fn sorted(held: &DirectoryHandle, path: &Path) -> Vec<String> {
    let mut names: Vec<_> = held
        .names(path)
        .unwrap()
        .into_iter()
        .map(|name| name.into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn directory(parent: &Path, name: &str, files: &[&str]) -> std::path::PathBuf {
    let path = parent.join(name);
    fs::create_dir(&path).unwrap();
    for file in files {
        fs::write(path.join(file), "").unwrap();
    }
    path
}

#[test]
fn changed_directory_is_listed_with_its_new_entries() {
    let folder = tempfile::tempdir().unwrap();
    let (path, held) = (
        directory(folder.path(), "keys", &["a", "b"]),
        DirectoryHandle::default(),
    );
    assert_eq!(sorted(&held, &path), ["a", "b"]);
    fs::write(path.join("c"), "").unwrap();
    fs::remove_file(path.join("a")).unwrap();
    assert_eq!(sorted(&held, &path), ["b", "c"]);
    let many: Vec<String> = (0..2000).map(|number| format!("{number:0>40}")).collect();
    for name in &many {
        fs::write(path.join(name), "").unwrap();
    }
    assert_eq!(
        sorted(&held, &path).len(),
        2002,
        "more names than one read returns"
    );
}

#[test]
fn replaced_directory_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, held) = (
        directory(folder.path(), "keys", &["old"]),
        DirectoryHandle::default(),
    );
    assert_eq!(sorted(&held, &path), ["old"]);
    fs::rename(&path, folder.path().join("aside")).unwrap();
    assert_eq!(
        held.names(&path).unwrap_err().kind(),
        io::ErrorKind::NotFound
    );
    directory(folder.path(), "keys", &["new"]);
    assert_eq!(sorted(&held, &path), ["new"]);

    fs::remove_dir_all(&path).unwrap();
    fs::write(&path, "").unwrap();
    assert_eq!(
        held.names(&path).unwrap_err().kind(),
        io::ErrorKind::NotADirectory
    );
    fs::remove_file(&path).unwrap();
    fs::rename(folder.path().join("aside"), &path).unwrap();
    assert_eq!(sorted(&held, &path), ["old"]);
}

/// The way Kubernetes updates a secret: all names are links into `..data`, a link that is replaced
/// atomically.
#[test]
fn link_to_another_directory_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    directory(folder.path(), "..first", &["old"]);
    directory(folder.path(), "..second", &["new"]);
    let (data, held) = (folder.path().join("..data"), DirectoryHandle::default());
    symlink("..first", &data).unwrap();
    assert_eq!(sorted(&held, &data), ["old"]);
    symlink("..second", folder.path().join("..tmp")).unwrap();
    fs::rename(folder.path().join("..tmp"), &data).unwrap();
    assert_eq!(sorted(&held, &data), ["new"]);
}
