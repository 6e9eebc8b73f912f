//! First user of an embedded database.
//!
//! There is no default password. A random one is shown on a terminal, or otherwise written to a
//! file that only its owner can read, because a log keeps the output of a service.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use rustix::process::{Pid, getppid};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::StartError;
use latchkey_crypto::random;
use latchkey_domain::{password::Password, username::Username};
use latchkey_files as files;
use latchkey_service::{
    Error,
    users::{AccountError, Registration, UserAdmin},
};

/// User that was created in an empty database.
pub struct FirstUser {
    /// Username.
    pub username: &'static str,
    /// Password, or its file.
    pub password: FirstPassword,
}

/// Password of the first user, or the file that holds it. There is no other copy.
pub enum FirstPassword {
    /// Password to show on the terminal.
    Shown(SecretString),
    /// File with the password.
    Written(PathBuf),
}

const NAME: &str = "admin";

/// Name of the password file, in the directory of the database.
const FILE: &str = "admin-password";

pub(super) async fn admin(
    accounts: &UserAdmin,
    database: &Path,
) -> Result<Option<FirstUser>, StartError> {
    if accounts.any().await? {
        return Ok(None);
    }
    let internal = |reason: &dyn std::fmt::Display| Error::Internal(reason.to_string());
    let password = Zeroizing::new(random::password().map_err(|error| internal(&error))?);
    let registration = Registration {
        username: Username::parse_new(NAME).map_err(|error| internal(&error))?,
        password: Password::parse_new(password.clone()).map_err(|error| internal(&error))?,
        email: None,
        is_staff: true,
    };
    // The file is written before the user is created, so that no user exists without a known
    // password.
    let draft = if is_unlogged_terminal() {
        None
    } else {
        Some(Draft::write(database, &password)?)
    };
    match accounts.create(registration).await {
        Ok(_) => {
            let password = match draft {
                None => FirstPassword::Shown(SecretString::from(password.as_str())),
                Some(draft) => FirstPassword::Written(draft.keep()),
            };
            Ok(Some(FirstUser {
                username: NAME,
                password,
            }))
        }
        // Another process has created the user at the same time.
        Err(AccountError::Taken(_)) => {
            draft.into_iter().for_each(Draft::discard);
            Ok(None)
        }
        // The user may have been created, so the file is kept.
        Err(AccountError::Failed(error)) => Err(error.into()),
        Err(error @ AccountError::NotFound(_)) => Err(internal(&error).into()),
    }
}

/// True if standard output is a terminal without a log. A container engine logs the terminal of its
/// first process, even if an init (`docker run --init`) has started the server.
fn is_unlogged_terminal() -> bool {
    let first = || std::process::id() == 1 || getppid().is_none_or(Pid::is_init);
    io::stdout().is_terminal() && !first()
}

/// File with a password that is not valid yet. Each of several processes that start at once writes
/// one.
struct Draft {
    path: PathBuf,
    target: PathBuf,
}

impl Draft {
    fn write(database: &Path, password: &str) -> Result<Self, StartError> {
        let folder = fs::canonicalize(database)
            .ok()
            .and_then(|path| path.parent().map(Path::to_owned));
        let folder = folder.unwrap_or_default();
        let draft = Self {
            path: folder.join(format!("{FILE}.{}", random::jti())),
            target: folder.join(FILE),
        };
        files::create_new(&draft.path)
            .and_then(|mut file| writeln!(file, "{password}").and_then(|()| file.sync_all()))
            .map_err(|error| StartError::FirstPassword(draft.target.clone(), error))?;
        Ok(draft)
    }

    /// Renames the file to its final name, and replaces a file of a database that was removed.
    fn keep(self) -> PathBuf {
        if fs::rename(&self.path, &self.target).is_ok() {
            self.target
        } else {
            self.path
        }
    }

    fn discard(self) {
        let _ = fs::remove_file(self.path);
    }
}
