//! Rules about access: pure functions of a mode, an owner and a group.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use rustix::process::{getegid, geteuid, getgroups};

/// The user and the groups of a process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// The effective user.
    pub user: u32,
    /// The effective group and the supplementary ones.
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

/// Users other than the owner who can write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Writers {
    /// The owner alone.
    Owner,
    /// Members of a group that this process belongs to: a user's private group, or `fsGroup` of Kubernetes.
    OwnGroup,
    /// Members of a group that this process does not belong to.
    ForeignGroup,
    /// Every user of the machine.
    World,
}

/// The part of a file's metadata that controls access to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Access {
    /// The permission bits.
    pub mode: u32,
    /// The owner.
    pub owner: u32,
    /// The group.
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

    /// Returns the users who can write to the file, or put new files into the directory. A sticky bit does not keep them
    /// from that.
    #[must_use]
    pub fn creators(self, who: &Identity) -> Writers {
        match self.mode {
            mode if mode & 0o002 != 0 => Writers::World,
            mode if mode & 0o020 == 0 => Writers::Owner,
            _ if who.groups.contains(&self.group) => Writers::OwnGroup,
            _ => Writers::ForeignGroup,
        }
    }

    /// Returns true if every user of the machine can read it.
    #[must_use]
    pub const fn is_world_readable(self) -> bool {
        self.mode & 0o004 != 0
    }

    /// Returns the mode in octal: `0666`, or `2770` with a set-group-ID bit.
    #[must_use]
    pub fn shown(self) -> String {
        format!("{:04o}", self.mode)
    }
}

/// Refuses an existing file or directory that other users can change. A group of this process may have write access: it
/// is a user's private group or `fsGroup` of Kubernetes, and [`exposures`] reports it.
///
/// # Errors
/// One line with the path and the repair.
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

/// Refuses an existing file that belongs to another user, who can change it at any time. Root may own it. Root itself
/// may use a file in a directory that the same user owns and no other user can write to, such as that of a service.
///
/// # Errors
/// One line with the path and the repair.
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

/// A file or a directory that more users can access than necessary, and that is not refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exposure {
    /// True if it is certainly a mistake; false if an orchestrator may have caused it.
    pub severe: bool,
    /// The path, the problem and the repair.
    pub text: String,
}

/// Returns the exposures of an existing file or directory. If it is `mounted`, such as a secret, and root owns it,
/// every user may be able to read it: Docker Swarm and Kubernetes mount such files.
#[must_use]
pub fn exposures(path: &Path, mounted: bool) -> Vec<Exposure> {
    let Ok(metadata) = fs::metadata(path) else {
        return Vec::new();
    };
    let kind = match (mounted, super::mount::is_mendable_at(path, &metadata)) {
        (false, _) => Kept::Stored,
        (true, true) => Kept::Mounted,
        (true, false) => Kept::Fixed,
    };
    judge(path, Access::from(&metadata), kind, &Identity::current())
}

/// The origin of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kept {
    /// Mounted or written by an orchestrator, and this process cannot change its mode.
    Fixed,
    /// Mounted or written by an orchestrator or an operator.
    Mounted,
    /// Written by this service.
    Stored,
}

fn judge(path: &Path, access: Access, kept: Kept, who: &Identity) -> Vec<Exposure> {
    let (shown, mode) = (path.display(), access.shown());
    let mounted = kept != Kept::Stored;
    let mut found = Vec::new();
    if !access.directory && access.is_world_readable() {
        let repair = match kept {
            Kept::Fixed => "mount it with a mode such as 0400, or 0440 and the group of this user",
            Kept::Mounted | Kept::Stored => "run chmod o-r on it",
        };
        let text = format!("{shown} has the mode {mode}, so every user can read it: {repair}");
        found.push(Exposure {
            severe: !(mounted && access.owner == 0) && kept != Kept::Fixed,
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
    fn a_file_that_every_user_can_read_is_severe_unless_root_mounted_it() {
        let who = Identity {
            user: 65532,
            groups: vec![65532, 2000],
        };
        let judged = |mode, owner, mounted| {
            let access = Access {
                mode,
                owner,
                group: 2000,
                directory: false,
            };
            let kept = if mounted { Kept::Mounted } else { Kept::Stored };
            judge(Path::new("f"), access, kept, &who)
                .iter()
                .map(|found| found.severe)
                .collect::<Vec<_>>()
        };
        assert_eq!(judged(0o600, 65532, true), [] as [bool; 0]);
        assert_eq!(judged(0o440, 0, true), [] as [bool; 0], "fsGroup");
        assert_eq!(judged(0o444, 0, true), [false], "Docker Swarm");
        assert_eq!(judged(0o444, 65532, true), [true]);
        assert_eq!(judged(0o644, 0, false), [true], "a database is not mounted");
        assert_eq!(judged(0o660, 65532, false), [false], "fsGroup");
        assert_eq!(judged(0o600, 1000, false), [false]);
    }
}
