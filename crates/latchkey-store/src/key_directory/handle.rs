//! Open handle of the directory, so that listing it needs no further file descriptor.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Mutex, PoisonError},
};

use latchkey_files::reserve;

/// Open directory. `None` before the first listing.
#[derive(Debug, Default)]
pub(super) struct DirectoryHandle(Mutex<Option<Open>>);

/// Directory and its identity (device and inode), which changes if the path leads to another
/// directory.
#[derive(Debug)]
struct Open {
    file: File,
    identity: (u64, u64),
}

impl DirectoryHandle {
    /// Returns the names of all entries of the directory at `path`. Opens the directory again if it
    /// was replaced: after a rename, a new mount, or a changed link, as in Kubernetes secrets.
    pub(super) fn names(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A query by path needs no descriptor.
        let metadata = fs::metadata(path).inspect_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                *held = None;
            }
        })?;
        let open = match held.take() {
            Some(open) if open.identity == (metadata.dev(), metadata.ino()) => open,
            _ => reserve::with_reserve(|| Open::at(path))?,
        };
        let names = names(&open.file, path);
        *held = Some(open);
        names
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        Ok(Self {
            file,
            identity: (metadata.dev(), metadata.ino()),
        })
    }
}

#[cfg(target_os = "linux")]
fn names(directory: &File, _path: &Path) -> io::Result<Vec<OsString>> {
    use std::{ffi::OsStr, io::Seek as _, os::unix::ffi::OsStrExt as _};

    let (mut directory, mut names, mut buffer) =
        (directory, Vec::new(), Vec::with_capacity(16 * 1024));
    directory.rewind()?;
    let mut entries = rustix::fs::RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

/// On other systems, listing needs a descriptor.
#[cfg(not(target_os = "linux"))]
fn names(_directory: &File, path: &Path) -> io::Result<Vec<OsString>> {
    reserve::with_reserve(|| {
        fs::read_dir(path)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect()
    })
}

#[cfg(test)]
#[path = "handle_tests.rs"]
mod tests;
