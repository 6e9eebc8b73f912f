//! Files of private keys: written atomically, readable by their owner only.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use secrecy::SecretString;

use latchkey_files as files;
use latchkey_files::reserve;

/// Maximum size of a key file. An RSA key of 8192 bits has less than 7 KiB.
const MAX_SIZE: u64 = 16 * 1024;

/// Extension of files that are being written.
pub(super) const DRAFT: &str = "draft";

/// Timeout for the lock. Other processes hold it for a few writes.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);

/// Creates the directory (mode 0700) if it is missing, and holds its lock until the returned file
/// is dropped.
pub(super) fn lock(directory: &Path) -> io::Result<File> {
    files::create_folders(directory)?;
    files::refuse_folder_of_others(directory)?;
    let path = directory.join(".lock");
    let file = files::create(&path)?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_TIMEOUT => {
                thread::sleep(LOCK_TIMEOUT / 100);
            }
            Err(TryLockError::WouldBlock) => {
                let reason = format!(
                    "another process has held the lock for {}s: find it with `fuser {}`, end it if it is stopped or \
                     hangs, and try again",
                    LOCK_TIMEOUT.as_secs(),
                    path.display()
                );
                return Err(io::Error::new(io::ErrorKind::WouldBlock, reason));
            }
        }
    }
}

/// Returns the contents of the file, or its mode if other users can read it. Both belong to the
/// same opened file. Other users' read access is allowed if this process cannot change the mode, as
/// in a mounted secret; write access never is.
pub(super) fn read(path: &Path) -> io::Result<Result<SecretString, u32>> {
    reserve::with_reserve(|| read_once(path))
}

fn read_once(path: &Path) -> io::Result<Result<SecretString, u32>> {
    let (file, metadata) = files::open(path)?;
    let mode = files::permissions(&metadata) & 0o777;
    if mode & 0o077 != 0 && files::is_mendable(&file, &metadata) {
        return Ok(Err(mode));
    }
    files::refuse_writers(&file, &metadata)?;
    let bytes = files::read_opened(file, &metadata, MAX_SIZE)?;
    Ok(Ok(SecretString::from(
        std::str::from_utf8(&bytes).unwrap_or_default(),
    )))
}

/// Writes a draft and renames it, so that no reader sees a partial file.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension(DRAFT);
    // A draft of a process that died. Only the holder of the lock writes drafts.
    let _ = fs::remove_file(&draft);
    let written = create(&draft, text.as_bytes()).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // Leave no partial private key on a full disk.
        let _ = fs::remove_file(&draft);
    }
    written
}

/// Creates an empty file, unless it exists. The creation is atomic for readers of the directory.
pub(super) fn touch(path: &Path) -> io::Result<()> {
    match files::create_new(path) {
        Ok(file) => file.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Syncs the directory, so that renames and removals are durable.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = files::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
