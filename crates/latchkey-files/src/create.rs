//! Creation of files and directories that only their owner can access.
//!
//! If root creates one in a directory of another user, that user becomes its owner, as in SQLite:
//! the service must be able to read files that `sudo latchkey` writes.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown},
    },
    path::Path,
};

use rustix::fs::OFlags;

use super::{Identity, read};

const PASSWD: &str = "/etc/passwd";
const PASSWD_LIMIT: u64 = 1024 * 1024;

/// Creates a file with the mode 0600 and opens it for writing. An existing file is an error.
///
/// # Errors
/// Errors of the operating system, and a line with the remedy if the owner of the file cannot be
/// changed.
pub fn create_new(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    give_to_owner(&file, folder_of(path)).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })?;
    Ok(file)
}

/// Opens a file for writing, and creates it as [`create_new`] if it does not exist. It does not
/// follow a link, and does not wait for a pipe.
///
/// # Errors
/// Errors of [`create_new`].
pub fn create(path: &Path) -> io::Result<File> {
    match create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let flags =
                i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
            OpenOptions::new()
                .write(true)
                .custom_flags(flags)
                .open(path)
        }
        created => created,
    }
}

/// Creates a directory with the mode 0700, and all missing directories above it. An existing
/// directory is not changed.
///
/// # Errors
/// Errors of [`create_new`].
pub fn create_folders(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    create_folders(folder_of(path))?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => {
            // The owner of the directory above could have replaced it with a link.
            let flags =
                i32::try_from((OFlags::NOFOLLOW | OFlags::DIRECTORY).bits()).unwrap_or_default();
            let created = OpenOptions::new()
                .read(true)
                .custom_flags(flags)
                .open(path)?;
            give_to_owner(&created, folder_of(path)).inspect_err(|_| {
                let _ = fs::remove_dir(path);
            })
        }
    }
}

/// Refuses a directory of another user: its owner could not read files that this user creates
/// there. Root can change their owner. A directory of root is accepted.
///
/// # Errors
/// Errors of the operating system, and a line with the remedy.
pub fn refuse_folder_of_others(folder: &Path) -> io::Result<()> {
    let (me, owner) = (Identity::current().user, fs::metadata(folder)?.uid());
    if [0, me].contains(&owner) || me == 0 {
        return Ok(());
    }
    let name = user_name(owner);
    Err(io::Error::other(format!(
        "it belongs to the user {name}, who could not read files of this user: run the command with sudo -u {name}"
    )))
}

/// Returns the directory of a path.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) => Path::new("."),
        None => path,
    }
}

fn give_to_owner(created: impl AsFd, folder: &Path) -> io::Result<()> {
    if Identity::current().user != 0 {
        return Ok(());
    }
    let owner = fs::metadata(folder)?;
    if owner.uid() == 0 {
        return Ok(());
    }
    fchown(created, Some(owner.uid()), Some(owner.gid())).map_err(|error| {
        let name = user_name(owner.uid());
        io::Error::other(format!(
            "the owner of new files cannot be changed to {name}, who owns {} ({error}): run the command with sudo -u {name}",
            folder.display()
        ))
    })
}

/// Returns the name of a user in the form that `sudo -u` accepts.
#[must_use]
pub fn user_name(user: u32) -> String {
    let bytes = read(Path::new(PASSWD), PASSWD_LIMIT).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let name = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(user)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("'#{user}'"))
}
