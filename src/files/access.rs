//! Judges modes: pure rules over a mode, an owner and a group.

use std::{fs::Metadata, os::unix::fs::MetadataExt as _};

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
    /// Those of this process.
    #[must_use]
    pub fn current() -> Self {
        let groups = getgroups().unwrap_or_default().into_iter().chain([getegid()]);
        Self { user: geteuid().as_raw(), groups: groups.map(rustix::process::Gid::as_raw).collect() }
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

/// The part of a file's metadata that decides who gets at it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Access {
    /// The permission bits.
    pub mode: u32,
    /// The owner.
    pub owner: u32,
    /// The group.
    pub group: u32,
    /// Directories have a sticky bit that keeps users from files of others.
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
    /// Who else can write to the file, or exchange files of the directory.
    #[must_use]
    pub fn writers(self, who: &Identity) -> Writers {
        let sticky = self.directory && self.mode & 0o1000 != 0;
        match self.mode {
            _ if sticky => Writers::Owner,
            mode if mode & 0o002 != 0 => Writers::World,
            mode if mode & 0o020 == 0 => Writers::Owner,
            _ if who.groups.contains(&self.group) => Writers::OwnGroup,
            _ => Writers::ForeignGroup,
        }
    }

    /// Whether every user of the machine can read it.
    #[must_use]
    pub const fn is_world_readable(self) -> bool {
        self.mode & 0o004 != 0
    }

    /// The mode as it is written: `0666`, or `2770` with a set-group bit.
    #[must_use]
    pub fn shown(self) -> String {
        format!("{:04o}", self.mode)
    }
}
