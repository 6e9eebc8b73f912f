//! Key store in a directory: one file for each key, with its metadata in the name (`name.rs`).
//!
//! A revoked key leaves an empty file with its name and `.revoked`. This file is never removed and
//! takes precedence over any copy of the key.

mod file;
mod handle;
mod name;

use std::{
    fmt::Write as _,
    fs::{self, Metadata},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use chrono::TimeDelta;
use secrecy::ExposeSecret as _;

use latchkey_domain::{
    keys::{KeyMetadata, MaxLifetimes},
    ports::{KeyChange, KeyRecord, KeyRecords, KeyStore, RevokedKey, StoreError},
    time::Moment,
};
use latchkey_files as files;
use latchkey_files::{Access, Identity, Writers, reserve};

/// Maximum of reads of a directory that changes meanwhile.
const ATTEMPTS: usize = 10;

/// File with the longest token lifetimes in seconds: access, then refresh.
const LIVES: &str = ".lives";

/// Maximum size of the file `.lives`.
const MAX_LIVES_SIZE: u64 = 1024;

/// Directory of keys. A missing directory has no keys, and the first write creates it.
#[derive(Clone, Debug)]
pub struct KeyDirectory(Arc<Path>, Arc<handle::DirectoryHandle>);

impl KeyDirectory {
    /// Returns the store in the directory at this path.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self(path.into(), Arc::default())
    }

    /// Reads like [`KeyStore::read`], without a runtime.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the directory cannot be read, or other users can write to it.
    pub fn read_now(&self) -> Result<KeyRecords, StoreError> {
        let mut records = self.read_once()?;
        // A file that was removed during the read is not a fault, so a changed directory is read
        // again.
        for _ in 1..ATTEMPTS {
            if records.broken.is_empty() || self.version_now()? == records.version {
                break;
            }
            records = self.read_once()?;
        }
        Ok(records)
    }

    fn read_once(&self) -> Result<KeyRecords, StoreError> {
        let files = self.files().map_err(|error| self.failed(&error))?;
        let mut records = KeyRecords {
            version: version(&files),
            ..KeyRecords::default()
        };
        records.lives = self.lives();
        let files = files.into_iter().filter(|(path, _)| !path.ends_with(LIVES));
        let (revocations, keys): (Vec<_>, Vec<_>) =
            files.partition(|(path, _)| is(path, name::REVOKED));
        let owner = fs::metadata(&self.0)
            .map(|metadata| metadata.uid())
            .unwrap_or_default();
        for (path, metadata) in revocations {
            match name::parse(&path) {
                None => records.broken.push(wrong_name(&path)),
                Some(facts) => {
                    let at = metadata.modified().map_or(facts.signs_from, Moment::from);
                    records.revoked.push(RevokedKey { facts, at });
                }
            }
        }
        for (path, metadata) in keys {
            match name::parse(&path) {
                None => records.broken.push(wrong_name(&path)),
                // The revocation was interrupted, or the key was restored from a copy.
                Some(facts)
                    if records
                        .revoked
                        .iter()
                        .any(|revoked| revoked.facts.kid == facts.kid) => {}
                Some(facts) => {
                    match check(&path, &metadata, owner).and_then(|()| read(facts.clone(), &path)) {
                        Ok(record) => records.keys.push(record),
                        Err(line) => {
                            records.unreadable.push(facts);
                            records.broken.push(line);
                        }
                    }
                }
            }
        }
        records
            .keys
            .sort_by(|a, b| a.facts.order().cmp(&b.facts.order()));
        records
            .revoked
            .sort_by(|a, b| a.facts.order().cmp(&b.facts.order()));
        Ok(records)
    }

    /// Returns the recorded lifetimes, or zero if they are missing or unreadable. They only delay
    /// the removal of a key.
    fn lives(&self) -> MaxLifetimes {
        let read = || Ok(files::read(&self.0.join(LIVES), MAX_LIVES_SIZE)?);
        let bytes = reserve::with_reserve(read).unwrap_or_default();
        let text = files::text(&bytes).unwrap_or_default();
        let mut spans = text.split_whitespace().map(|seconds| {
            seconds
                .parse()
                .ok()
                .and_then(TimeDelta::try_seconds)
                .unwrap_or_default()
        });
        MaxLifetimes {
            access: spans.next().unwrap_or_default(),
            refresh: spans.next().unwrap_or_default(),
        }
    }

    fn version_now(&self) -> Result<String, StoreError> {
        Ok(version(&self.files().map_err(|error| self.failed(&error))?))
    }

    fn change_now(&self, seen: &str, changes: &[KeyChange]) -> Result<bool, StoreError> {
        let failed = |error: io::Error| self.failed(&error);
        let _lock = file::lock(&self.0).map_err(|error| self.locked(&error))?;
        if version(&self.files().map_err(failed)?) != seen {
            return Ok(false);
        }
        self.sweep().map_err(failed)?;
        for change in changes {
            self.apply(change).map_err(failed)?;
        }
        file::sync(&self.0).map_err(failed)?;
        Ok(true)
    }

    fn apply(&self, change: &KeyChange) -> io::Result<()> {
        match change {
            KeyChange::Add(facts, text) | KeyChange::Rewrap(facts, text) => {
                file::write(&self.path(facts, name::KEY), text.expose_secret())
            }
            KeyChange::Lives(lives) => file::write(&self.0.join(LIVES), &format_lives(*lives)),
            KeyChange::Revoke(facts, _) => self.record_revocation(facts),
            KeyChange::Remove(facts) => {
                fs::remove_file(self.path(facts, name::KEY)).or_else(ignore_missing)
            }
        }
    }

    /// Records a revocation, then removes the key. Needs no lock: other processes never remove the
    /// empty `.revoked` file, and it takes precedence over every copy of the key.
    fn record_revocation(&self, facts: &KeyMetadata) -> io::Result<()> {
        // Written first: from here on, the key is revoked.
        file::touch(&self.path(facts, name::REVOKED))?;
        file::sync(&self.0)?;
        fs::remove_file(self.path(facts, name::KEY)).or_else(ignore_missing)
    }

    /// Removes drafts of interrupted writes, and restored private parts of revoked keys. Requires
    /// the lock.
    fn sweep(&self) -> io::Result<()> {
        for name in self.1.names(&self.0)? {
            let path = self.0.join(name);
            let revoked = is(&path, name::KEY) && path.with_extension(name::REVOKED).exists();
            if revoked || is(&path, file::DRAFT) {
                fs::remove_file(&path).or_else(ignore_missing)?;
            }
        }
        Ok(())
    }

    fn path(&self, facts: &KeyMetadata, extension: &str) -> PathBuf {
        self.0.join(name::of(facts, extension))
    }

    /// Returns the files of keys, revocations and lifetimes, sorted by name.
    fn files(&self) -> io::Result<Vec<(PathBuf, Metadata)>> {
        let names = match self.1.names(&self.0) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let metadata = fs::metadata(&self.0)?;
        refuse_creators(&self.0, &metadata)?;
        let mut files = Vec::new();
        for name in names {
            let path = self.0.join(name);
            if is(&path, name::KEY) || is(&path, name::REVOKED) || path.ends_with(LIVES) {
                // A dangling link is an unreadable file, not a missing one.
                match fs::metadata(&path).or_else(|_| fs::symlink_metadata(&path)) {
                    Ok(metadata) => files.push((path, metadata)),
                    // Removed since the listing by the holder of the lock.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        files.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(files)
    }

    fn failed(&self, error: &io::Error) -> StoreError {
        StoreError::Failed(format!("{}: {error}", self.0.display()))
    }

    /// Returns the error of a lock attempt. A lock held by another process is not a fault of the
    /// directory.
    fn locked(&self, error: &io::Error) -> StoreError {
        let text = format!("{}: {error}", self.0.display());
        if error.kind() == io::ErrorKind::WouldBlock {
            StoreError::Unavailable(text)
        } else {
            StoreError::Failed(text)
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let directory = self.clone();
        let result = tokio::task::spawn_blocking(move || work(&directory)).await;
        result.unwrap_or_else(|error| Err(StoreError::Failed(error.to_string())))
    }
}

#[async_trait]
impl KeyStore for KeyDirectory {
    async fn version(&self) -> Result<String, StoreError> {
        self.blocking(Self::version_now).await
    }

    async fn read(&self) -> Result<KeyRecords, StoreError> {
        self.blocking(Self::read_now).await
    }

    async fn change(&self, seen: &str, changes: &[KeyChange]) -> Result<bool, StoreError> {
        let (seen, changes) = (seen.to_owned(), changes.to_vec());
        self.blocking(move |directory| directory.change_now(&seen, &changes))
            .await
    }

    async fn mark_revoked(&self, facts: &KeyMetadata) -> Result<(), StoreError> {
        let facts = facts.clone();
        self.blocking(move |directory| {
            directory
                .record_revocation(&facts)
                .map_err(|error| directory.failed(&error))
        })
        .await
    }

    fn setting(&self) -> &'static str {
        "LATCHKEY_KEYS_DIR"
    }
}

/// Refuses a directory in which other users can create keys. Allows a read-only mount owned by
/// root: Kubernetes mounts secrets in a sticky, world-writable directory.
fn refuse_creators(path: &Path, metadata: &Metadata) -> io::Result<()> {
    if metadata.uid() == 0 && files::is_on_read_only(path) {
        return Ok(());
    }
    let identity = Identity::current();
    let is_own = identity.user == 0 || identity.user == metadata.uid();
    let remedy = |change: &'static str| {
        if is_own {
            change
        } else {
            "mount it read-only, or ask its owner to change that"
        }
    };
    if metadata.permissions().mode() & 0o002 != 0 {
        let remedy = remedy("run chmod o-w on it");
        return Err(io::Error::other(format!(
            "every user can create keys in it: {remedy}"
        )));
    }
    // A group of this process is usually a private group, or `fsGroup` of Kubernetes. `latchkey
    // doctor` reports it.
    if Access::from(metadata).creators(&identity) == Writers::ForeignGroup {
        let remedy = remedy("run chmod g-w on it");
        return Err(io::Error::other(format!(
            "a group that this user is not in can create keys in it: {remedy}"
        )));
    }
    Ok(())
}

/// Refuses an entry that is not a file, because opening a pipe would block, and a key of another
/// user. In a directory of root, keys may belong to this user.
fn check(path: &Path, metadata: &Metadata, owner: u32) -> Result<(), String> {
    let place = path.display();
    if !metadata.is_file() && !metadata.is_symlink() {
        return Err(format!("{place}: is not a file: remove it"));
    }
    let own = if owner == 0 {
        Identity::current().user
    } else {
        owner
    };
    if ![0, owner, own].contains(&metadata.uid()) {
        return Err(format!(
            "{place}: belongs to another user than the directory: run chown on it, or remove it"
        ));
    }
    Ok(())
}

fn format_lives(lives: MaxLifetimes) -> String {
    format!(
        "{} {}\n",
        lives.access.num_seconds(),
        lives.refresh.num_seconds()
    )
}

fn read(facts: KeyMetadata, path: &Path) -> Result<KeyRecord, String> {
    let place = path.display().to_string();
    match file::read(path) {
        Ok(Ok(text)) => Ok(KeyRecord { facts, text, place }),
        Ok(Err(mode)) => Err(format!(
            "{place}: the mode is {mode:04o}, so others can read the key: run chmod 600 {place}"
        )),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let name = files::user_name(Identity::current().user);
            Err(format!(
                "{place}: the user {name} cannot read it: run chown {name} on it"
            ))
        }
        Err(error) => Err(format!("{place}: {error}")),
    }
}

fn wrong_name(path: &Path) -> String {
    format!(
        "{}: the name is not TIME-access-ALGORITHM-KID.pem or TIME-refresh-HS256-KID.pem, such as \
         20260131T120000Z-access-ES256-….pem: move the file elsewhere, or run latchkey keys import",
        path.display()
    )
}

/// Returns the version: names, sizes, modes, owners, times and inodes of all files. A
/// replaced file has another inode, so no change is missed.
fn version(files: &[(PathBuf, Metadata)]) -> String {
    let mut text = String::new();
    for (path, metadata) in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let (inode, length, mode, owner) = (
            metadata.ino(),
            metadata.len(),
            metadata.mode(),
            metadata.uid(),
        );
        let (seconds, nanoseconds) = (metadata.ctime(), metadata.ctime_nsec());
        let _ = writeln!(
            text,
            "{name} {inode} {length} {mode} {owner} {seconds}.{nanoseconds}"
        );
    }
    text
}

fn is(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}

#[cfg(test)]
mod tests;
