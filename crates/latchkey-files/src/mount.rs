//! Files with a mode that this process cannot change. Orchestrators mount secrets of root, or
//! read-only.

use std::{
    fs::{File, Metadata},
    os::{fd::AsFd, unix::fs::MetadataExt as _},
    path::Path,
};

use rustix::fs::{StatVfsMountFlags, fstatvfs, statvfs};

use super::Identity;

/// True if this process can change the mode of the open file.
#[must_use]
pub fn is_mendable(file: &File, metadata: &Metadata) -> bool {
    is_own(metadata) && !is_read_only(file)
}

/// True if this process can change the mode of the file.
pub(super) fn is_mendable_at(path: &Path, metadata: &Metadata) -> bool {
    is_own(metadata) && !is_on_read_only(path)
}

/// True if the path is in a file system that is mounted read-only.
#[must_use]
pub fn is_on_read_only(path: &Path) -> bool {
    statvfs(path).is_ok_and(|system| system.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn is_read_only(file: impl AsFd) -> bool {
    fstatvfs(file).is_ok_and(|system| system.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn is_own(metadata: &Metadata) -> bool {
    let user = Identity::current().user;
    user == 0 || metadata.uid() == user
}
