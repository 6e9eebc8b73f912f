//! Files that hold private keys: written whole or not at all, readable by their owner alone.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use secrecy::SecretString;

use crate::files::{self, reserve};

/// No key file is longer: an RSA key of 8192 bits has less than 7 KiB.
const MAX_LENGTH: u64 = 16 * 1024;

/// The extension of what is not yet what it shall be.
pub(super) const DRAFT: &str = "draft";

/// How long whoever else has the lock may take: a few writes.
const PATIENCE: Duration = Duration::from_secs(3);

/// Makes the directory (0700) when it is missing, and holds its lock until the returned file is dropped: of several
/// processes that would change it at once, one does.
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
            Err(TryLockError::WouldBlock) if started.elapsed() < PATIENCE => {
                thread::sleep(PATIENCE / 100)
            }
            Err(TryLockError::WouldBlock) => {
                let reason = format!(
                    "another process has held the lock for {}s: find it with `fuser {}`, end it if it is stopped or \
                     hangs, and try again",
                    PATIENCE.as_secs(),
                    path.display()
                );
                return Err(io::Error::new(io::ErrorKind::WouldBlock, reason));
            }
        }
    }
}

/// Returns the contents of the file, or its mode if other users can read it. Both are of the one file that was opened. Where this process
/// cannot change the mode, as in a mounted secret, others may be able to read it, and never to write to it.
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
    let bytes = files::read_opened(file, &metadata, MAX_LENGTH)?;
    Ok(Ok(SecretString::from(
        std::str::from_utf8(&bytes).unwrap_or_default(),
    )))
}

/// Written under another name first, then renamed, so that nobody reads half of one.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension(DRAFT);
    // Whoever left one behind had the lock, and is gone: only the holder of the lock writes.
    let _ = fs::remove_file(&draft);
    let written = create(&draft, text.as_bytes()).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // A full disk must not leave half a private key behind.
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

/// What was renamed or removed is durable once the directory is.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = files::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
