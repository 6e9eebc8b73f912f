//! Reads of files that an attacker may have prepared. Each read has a limit, does not wait for a
//! pipe, and checks the mode of the file that it opened.

mod access;
mod create;
mod mount;
pub mod reserve;
mod text;

pub use access::{
    Access, Exposure, Identity, Writers, exposures, refuse_foreign_owner, refuse_foreign_writers,
};
pub use create::{create, create_folders, create_new, refuse_folder_of_others, user_name};
pub use mount::{is_mendable, is_on_read_only};
pub use text::{text, without_mark};

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, BufRead, Read},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// Maximum size of a file with one secret: a URL or a passphrase.
pub const SECRET_LIMIT: u64 = 16 * 1024;

/// Maximum size of a file of certificates. The bundle of a whole system has about 250 KiB.
pub const CERTIFICATES_LIMIT: u64 = 4 * 1024 * 1024;

/// Reason for refusing to read a file or a stream. The messages follow the name of the file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Error of the operating system.
    #[error("cannot be read ({0})")]
    Io(#[from] io::Error),
    /// Directory, pipe or device.
    #[error("is not a regular file")]
    NotRegular,
    /// Stream or file that exceeds the limit.
    #[error("holds more than {0} bytes")]
    TooLong(u64),
    /// Bytes that are not text.
    #[error("holds bytes that are not UTF-8")]
    NotText,
    /// File that other users can write to.
    #[error("has the mode {0:04o}, so other users can write to it: run chmod go-w on it")]
    WritableByOthers(u32),
    /// File that other users can write to, with a mode that this user cannot change.
    #[error(
        "has the mode {0:04o}, so other users can write to it: mount it with a mode such as 0440"
    )]
    WritableMount(u32),
    /// File of another user.
    #[error("belongs to the user {0}, and not to root or the user who runs Latchkey")]
    Foreign(u32),
}

impl FileError {
    /// True if the file does not exist.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io(error) => error,
            error => Self::other(error.to_string()),
        }
    }
}

/// Opens a regular file, or the target of a link, without waiting for the other end of a pipe.
///
/// # Errors
/// [`FileError::Io`], [`FileError::NotRegular`].
pub fn open(path: &Path) -> Result<(File, Metadata), FileError> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok((file, metadata))
    } else {
        Err(FileError::NotRegular)
    }
}

/// Refuses a pipe, a device or a directory. Other files and missing paths pass.
///
/// # Errors
/// [`FileError::NotRegular`].
pub fn refuse_special(path: &Path) -> Result<(), FileError> {
    match open(path) {
        Err(FileError::NotRegular) => Err(FileError::NotRegular),
        _ => Ok(()),
    }
}

/// Reads a regular file of at most `limit` bytes. The bytes are wiped when they are dropped.
///
/// # Errors
/// [`FileError`].
pub fn read(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let (file, metadata) = open(path)?;
    read_opened(file, &metadata, limit)
}

/// Reads a file, as [`read`], that only its owner can write to.
///
/// # Errors
/// [`FileError`].
pub fn read_protected(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let (file, metadata) = open(path)?;
    refuse_writers(&file, &metadata)?;
    read_opened(file, &metadata, limit)
}

/// Reads a file, as [`read_protected`], that belongs to root or to the user of this process.
///
/// # Errors
/// [`FileError`].
pub fn read_own(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let (file, metadata) = open(path)?;
    refuse_writers(&file, &metadata)?;
    let owner = metadata.uid();
    if owner != 0 && owner != Identity::current().user {
        return Err(FileError::Foreign(owner));
    }
    read_opened(file, &metadata, limit)
}

/// Reads a stream of at most `limit` bytes to its end. The bytes are wiped when they are dropped.
///
/// # Errors
/// [`FileError::Io`], [`FileError::TooLong`].
pub fn read_stream(stream: impl Read, limit: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    drain(stream, limit, 0)
}

/// Reads a line of at most `limit` bytes, and returns it without its line break.
///
/// # Errors
/// [`FileError::Io`], [`FileError::TooLong`], [`FileError::NotText`].
pub fn read_line(stream: impl BufRead, limit: u64) -> Result<Zeroizing<String>, FileError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity(limit)));
    stream.take(limit + 1).read_until(b'\n', &mut bytes)?;
    while bytes
        .last()
        .is_some_and(|last| matches!(last, b'\n' | b'\r'))
    {
        bytes.pop();
    }
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLong(limit));
    }
    text(&bytes)
}

/// Returns the permission bits of a mode.
#[must_use]
pub fn permissions(metadata: &Metadata) -> u32 {
    metadata.permissions().mode() & 0o7777
}

/// Refuses an open file that other users can write to.
///
/// # Errors
/// [`FileError::WritableByOthers`], [`FileError::WritableMount`].
pub fn refuse_writers(file: &File, metadata: &Metadata) -> Result<(), FileError> {
    match permissions(metadata) & 0o777 {
        mode if mode & 0o022 == 0 => Ok(()),
        mode if is_mendable(file, metadata) => Err(FileError::WritableByOthers(mode)),
        mode => Err(FileError::WritableMount(mode)),
    }
}

/// Reads an open file. A file that is too long is refused before anything is read.
///
/// # Errors
/// [`FileError::Io`], [`FileError::TooLong`].
pub fn read_opened(
    file: File,
    metadata: &Metadata,
    limit: u64,
) -> Result<Zeroizing<Vec<u8>>, FileError> {
    if metadata.len() > limit {
        Err(FileError::TooLong(limit))
    } else {
        drain(file, limit, metadata.len())
    }
}

/// Reads a stream into a buffer that is allocated in full: growing would leave copies of a secret
/// in memory.
fn drain(stream: impl Read, limit: u64, expected: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let size = if expected == 0 {
        limit.min(64 * 1024)
    } else {
        expected
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity(size)));
    stream.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        Err(FileError::TooLong(limit))
    } else {
        Ok(bytes)
    }
}

fn capacity(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or_default() + 1
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
