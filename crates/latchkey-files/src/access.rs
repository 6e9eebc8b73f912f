//! Rules about access to files, by mode, owner and group.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use rustix::process::{getegid, geteuid, getgroups};

/// User and groups of a process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// Effective user.
    pub user: u32,
    /// Effective group and supplementary groups.
    pub groups: Vec<u32>,
}

impl Identity {
    /// Returns the user and the groups of this process.
    #[must_use]
    pub fn current() -> Self {
        let groups = getgroups()
            .unwrap_or_default()
            .into_iter()
            .chain([getegid()]);
        Self {
            user: geteuid().as_raw(),
            groups: groups.map(rustix::process::Gid::as_raw).collect(),
        }
    }
}

/// Users who can write to a file or directory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Writers {
    /// Only the owner.
    Owner,
    /// Members of a group that this process belongs to: a user's private group, or `fsGroup` of
    /// Kubernetes.
    OwnGroup,
    /// Members of a group that this process does not belong to.
    ForeignGroup,
    /// Every user of the machine.
    World,
}

/// Metadata that controls access to a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Access {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub owner: u32,
    /// Group.
    pub group: u32,
    /// True for a directory. Its sticky bit protects files from other users.
    pub directory: bool,
}

impl From<&Metadata> for Access {
    fn from(metadata: &Metadata) -> Self {
        Self {
            mode: super::permissions(metadata),
            owner: metadata.uid(),
            group: metadata.gid(),
            directory: metadata.is_dir(),
        }
    }
}

impl Access {
    /// Returns the users who can write to the file, or replace files in the directory.
    #[must_use]
    pub fn writers(self, who: &Identity) -> Writers {
        let sticky = self.directory && self.mode & 0o1000 != 0;
        if sticky {
            Writers::Owner
        } else {
            self.creators(who)
        }
    }

    /// Returns the users who can write to the file, or create files in the directory. A sticky bit
    /// does not prevent that.
    #[must_use]
    pub fn creators(self, who: &Identity) -> Writers {
        match self.mode {
            mode if mode & 0o002 != 0 => Writers::World,
            mode if mode & 0o020 == 0 => Writers::Owner,
            _ if who.groups.contains(&self.group) => Writers::OwnGroup,
            _ => Writers::ForeignGroup,
        }
    }

    /// True if every user of the machine can read it.
    #[must_use]
    pub const fn is_world_readable(self) -> bool {
        self.mode & 0o004 != 0
    }

    /// Mode in octal: `0666`, or `2770` with a set-group-ID bit.
    #[must_use]
    pub fn shown(self) -> String {
        format!("{:04o}", self.mode)
    }
}

/// Refuses an existing file or directory that other users can change. A group of this process may
/// have write access: it is a user's private group or `fsGroup` of Kubernetes, and [`exposures`]
/// reports it.
///
/// # Errors
/// One line with the path, the fault and the remedy.
pub fn refuse_foreign_writers(path: &Path) -> Result<(), String> {
    let Ok(metadata) = fs::metadata(path) else {
        return Ok(());
    };
    let access = Access::from(&metadata);
    let (shown, mode) = (path.display(), access.shown());
    let is_mendable = super::mount::is_mendable_at(path, &metadata);
    let repair = |change: &'static str| {
        if is_mendable {
            change
        } else {
            "mount it with a mode such as 0440"
        }
    };
    match access.writers(&Identity::current()) {
        Writers::Owner | Writers::OwnGroup => Ok(()),
        Writers::World => {
            let repair = repair("run chmod o-w on it");
            Err(format!(
                "{shown} has the mode {mode}, so every user can change it: {repair}"
            ))
        }
        Writers::ForeignGroup => Err(format!(
            "{shown} has the mode {mode}, and this user is not in its group {}, which can change it: {}",
            access.group,
            repair("run chmod g-w on it")
        )),
    }
}

/// Refuses an existing file that belongs to another user, who can change it at any time. Root may
/// own it. A process of root may use a file in a directory that the same user owns and no other
/// user can write to, such as the directory of a service.
///
/// # Errors
/// One line with the path, the fault and the remedy.
pub fn refuse_foreign_owner(path: &Path) -> Result<(), String> {
    let Ok(metadata) = fs::metadata(path) else {
        return Ok(());
    };
    let who = Identity::current();
    match metadata.uid() {
        owner if owner == 0 || owner == who.user => Ok(()),
        owner if who.user == 0 && is_in_folder_of(path, owner) => Ok(()),
        owner => Err(format!(
            "{} belongs to the user {owner}, who can change it: run chown on it",
            path.display()
        )),
    }
}

fn is_in_folder_of(path: &Path, owner: u32) -> bool {
    let folder = path
        .parent()
        .filter(|folder| *folder != Path::new(""))
        .unwrap_or(Path::new("."));
    fs::metadata(folder)
        .is_ok_and(|folder| folder.uid() == owner && super::permissions(&folder) & 0o022 == 0)
}

/// File or directory that more users can access than necessary, but that is not refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exposure {
    /// True if it is certainly a mistake. False if an orchestrator may have caused it.
    pub severe: bool,
    /// Path, fault and remedy.
    pub text: String,
}

/// Returns the exposures of an existing file or directory. If a file is `mounted`, such as a
/// secret, and root owns it, a mode that lets every user read it is not severe: Docker Swarm and
/// Kubernetes mount such files.
#[must_use]
pub fn exposures(path: &Path, mounted: bool) -> Vec<Exposure> {
    let Ok(metadata) = fs::metadata(path) else {
        return Vec::new();
    };
    let origin = match (mounted, super::mount::is_mendable_at(path, &metadata)) {
        (false, _) => FileOrigin::Service,
        (true, true) => FileOrigin::Mounted,
        (true, false) => FileOrigin::Fixed,
    };
    evaluate(path, Access::from(&metadata), origin, &Identity::current())
}

/// Origin of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum FileOrigin {
    /// Mounted or written by an orchestrator, with a mode that this process cannot change.
    Fixed,
    /// Mounted or written by an orchestrator or an operator.
    Mounted,
    /// Written by this service.
    Service,
}

fn evaluate(path: &Path, access: Access, origin: FileOrigin, who: &Identity) -> Vec<Exposure> {
    let (shown, mode) = (path.display(), access.shown());
    let mounted = origin != FileOrigin::Service;
    let mut found = Vec::new();
    if !access.directory && access.is_world_readable() {
        let repair = match origin {
            FileOrigin::Fixed => {
                "mount it with a mode such as 0400, or 0440 and the group of this user"
            }
            FileOrigin::Mounted | FileOrigin::Service => "run chmod o-r on it",
        };
        let text = format!("{shown} has the mode {mode}, so every user can read it: {repair}");
        found.push(Exposure {
            severe: !(mounted && access.owner == 0) && origin != FileOrigin::Fixed,
            text,
        });
    }
    if access.writers(who) == Writers::OwnGroup {
        let text = format!(
            "{shown} has the mode {mode}, so the group {} can change it",
            access.group
        );
        found.push(Exposure {
            severe: false,
            text,
        });
    }
    if access.owner != 0 && access.owner != who.user && !mounted {
        let text = format!(
            "{shown} belongs to the user {}, who can change it",
            access.owner
        );
        found.push(Exposure {
            severe: false,
            text,
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn world_readable_file_is_severe_unless_root_mounted_it() {
        let who = Identity {
            user: 65532,
            groups: vec![65532, 2000],
        };
        let severities = |mode, owner, mounted| {
            let access = Access {
                mode,
                owner,
                group: 2000,
                directory: false,
            };
            let origin = if mounted {
                FileOrigin::Mounted
            } else {
                FileOrigin::Service
            };
            evaluate(Path::new("f"), access, origin, &who)
                .iter()
                .map(|found| found.severe)
                .collect::<Vec<_>>()
        };
        assert_eq!(severities(0o600, 65532, true), [] as [bool; 0]);
        assert_eq!(severities(0o440, 0, true), [] as [bool; 0], "fsGroup");
        assert_eq!(severities(0o444, 0, true), [false], "Docker Swarm");
        assert_eq!(severities(0o444, 65532, true), [true]);
        assert_eq!(
            severities(0o644, 0, false),
            [true],
            "a database is not mounted"
        );
        assert_eq!(severities(0o660, 65532, false), [false], "fsGroup");
        assert_eq!(severities(0o600, 1000, false), [false]);
    }
}
