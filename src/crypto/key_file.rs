//! Keys as files: one key a file, its name saying when it was made, for what, and its `kid`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use chrono::NaiveDateTime;
use latchkey_verifier::{Algorithm, Kind};
use zeroize::Zeroizing;

use super::signing_key::{MaterialError, SigningKey};
use crate::domain::time::Moment;

/// No key file is longer: an RSA key of 8192 bits has less than 7 KiB.
const MAX_LENGTH: usize = 16 * 1024;
const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// A key read from a file.
#[derive(Debug)]
pub struct StoredKey {
    /// When it was made, by the name of the file.
    pub created_at: Moment,
    /// The key.
    pub key: SigningKey,
    /// Where it lies.
    pub path: PathBuf,
}

/// What is wrong with a key file or with the directory. One line each, with what would be right.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The directory or a file cannot be used.
    #[error("{path}: {reason}", path = .0.display(), reason = .1)]
    Io(PathBuf, io::Error),
    /// Others could read the key.
    #[error("{path}: the mode is {mode:04o}, so others can read the key: run chmod 600 {path}", path = .0.display(), mode = .1)]
    Mode(PathBuf, u32),
    /// The name does not say what it is.
    #[error("{path}: the name is not TIME-access-ALGORITHM-KID.pem or TIME-refresh-HS256-KID.pem, such as \
             20260131T120000Z-access-ES256-….pem: move the file elsewhere", path = .0.display())]
    Name(PathBuf),
    /// The key is not the one that the name says.
    #[error("{path}: holds another key than its name says: its kid is {kid}", path = .0.display(), kid = .1)]
    OtherKey(PathBuf, String),
    /// The key cannot be used.
    #[error("{path}: {reason}", path = .0.display(), reason = .1)]
    Material(PathBuf, MaterialError),
}

/// All keys in `directory`, the oldest first. A directory that does not exist has none.
///
/// # Errors
/// The first file that is not right: a ring with a hole in it would refuse good tokens.
pub fn read_all(directory: &Path) -> Result<Vec<StoredKey>, KeyFileError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(KeyFileError::Io(directory.to_owned(), error)),
    };
    let mut keys = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| KeyFileError::Io(directory.to_owned(), error))?.path();
        if path.extension().is_some_and(|extension| extension == "pem") {
            keys.push(read(path)?);
        }
    }
    keys.sort_by(|a, b| (a.created_at, a.key.kid()).cmp(&(b.created_at, b.key.kid())));
    Ok(keys)
}

/// Makes a key and keeps it: written under another name first, then renamed, so that nobody reads half of one.
///
/// # Errors
/// When it cannot be made or written.
pub fn create(
    directory: &Path,
    kind: Kind,
    algorithm: Algorithm,
    created_at: Moment,
) -> Result<StoredKey, KeyFileError> {
    let (key, text) =
        SigningKey::generate(algorithm, kind).map_err(|reason| KeyFileError::Material(directory.to_owned(), reason))?;
    let stamp = created_at.format(STAMP);
    let path = directory.join(format!("{stamp}-{}-{algorithm}-{}.pem", kind.token_type(), key.kid()));
    let draft = path.with_extension("draft");
    if let Err(error) = write(&draft, text.as_bytes()).and_then(|()| fs::rename(&draft, &path)) {
        // A full disk must not leave half a private key behind.
        let _ = fs::remove_file(&draft);
        return Err(KeyFileError::Io(path, error));
    }
    sync(directory)?;
    Ok(StoredKey { created_at: to_the_second(created_at), key, path })
}

/// Makes the directory (0700) when it is missing, and holds its lock until the returned file is dropped: of several
/// processes that find it empty, one makes the keys.
///
/// # Errors
/// When the directory cannot be made or locked.
pub fn lock(directory: &Path) -> Result<File, KeyFileError> {
    let failed = |error| KeyFileError::Io(directory.to_owned(), error);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(directory.join(".lock"))
        .map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

fn read(path: PathBuf) -> Result<StoredKey, KeyFileError> {
    let Some((created_at, kind, algorithm, kid)) = parse_name(&path) else {
        return Err(KeyFileError::Name(path));
    };
    let text = match text(&path) {
        Ok(Ok(text)) => text,
        Ok(Err(mode)) => return Err(KeyFileError::Mode(path, mode)),
        Err(error) => return Err(KeyFileError::Io(path, error)),
    };
    match SigningKey::from_pem(algorithm, kind, &text) {
        Ok(key) if key.kid() == kid => Ok(StoredKey { created_at, key, path }),
        Ok(key) => Err(KeyFileError::OtherKey(path, key.kid().to_owned())),
        Err(reason) => Err(KeyFileError::Material(path, reason)),
    }
}

/// What the file holds, or its mode when others could read it: both of the one file that was opened.
fn text(path: &Path) -> io::Result<Result<Zeroizing<String>, u32>> {
    let mut file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Ok(Err(mode));
    }
    // Room for the longest key from the start: growing would leave copies of the beginning behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LENGTH));
    Read::by_ref(&mut file).take(MAX_LENGTH as u64).read_to_end(&mut bytes)?;
    Ok(Ok(Zeroizing::new(std::str::from_utf8(&bytes).unwrap_or_default().to_owned())))
}

/// The `kid` comes last because it may hold hyphens itself.
fn parse_name(path: &Path) -> Option<(Moment, Kind, Algorithm, String)> {
    let mut parts = path.file_stem()?.to_str()?.splitn(4, '-');
    let created_at = NaiveDateTime::parse_from_str(parts.next()?, STAMP).ok()?.and_utc();
    let kind =
        [Kind::Access, Kind::Refresh].into_iter().find(|kind| Some(kind.token_type()) == parts.clone().next())?;
    let algorithm: Algorithm = parts.nth(1)?.parse().ok()?;
    // Refresh tokens are MACed: nobody but this service has any business reading them.
    if kind == Kind::Refresh && algorithm != Algorithm::Hs256 {
        return None;
    }
    Some((created_at, kind, algorithm, parts.next()?.to_owned()))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A rename is durable once its directory is.
fn sync(directory: &Path) -> Result<(), KeyFileError> {
    File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(|error| KeyFileError::Io(directory.to_owned(), error))
}

fn to_the_second(moment: Moment) -> Moment {
    Moment::from_timestamp(moment.timestamp(), 0).unwrap_or(moment)
}

#[cfg(test)]
#[path = "key_file_tests.rs"]
mod tests;
