//! The first user of an embedded database. There is no default password. A random one is shown on a terminal, or else
//! written to a file that its owner alone can read: the output of a service is kept by a log.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use rustix::process::{Pid, getppid};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::StartError;
use crate::{
    crypto::random,
    domain::{password::Password, username::Username},
    files,
    service::{
        Error,
        user_admin::{AccountError, Registration, UserAdmin},
    },
};

/// A user who was made because there was none.
pub struct FirstUser {
    /// The name to sign in with.
    pub username: &'static str,
    /// The password, or its file.
    pub password: FirstPassword,
}

/// The place of the first password. It is kept nowhere else.
pub enum FirstPassword {
    /// For the terminal.
    Shown(SecretString),
    /// In this file.
    Written(PathBuf),
}

const NAME: &str = "admin";

/// The name of the file, beside the database.
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
    // It is written before the user is made: a user whose password is lost is of no use.
    let draft = if terminal_forgets() {
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
        // Another process that started at the same moment was first.
        Err(AccountError::Taken(_)) => {
            draft.into_iter().for_each(Draft::discard);
            Ok(None)
        }
        // The user may have been made, so the file stays.
        Err(AccountError::Failed(error)) => Err(error.into()),
        Err(error @ AccountError::NotFound(_)) => Err(internal(&error).into()),
    }
}

/// Returns true if standard output is a terminal that keeps no log. A container engine logs what the terminal of its
/// first process shows, also where an init (`docker run --init`) has started the server.
fn terminal_forgets() -> bool {
    let first = || std::process::id() == 1 || getppid().is_none_or(Pid::is_init);
    io::stdout().is_terminal() && !first()
}

/// A file with a password that is not in force yet. Two processes that start at once write two.
struct Draft {
    path: PathBuf,
    place: PathBuf,
}

impl Draft {
    fn write(database: &Path, password: &str) -> Result<Self, StartError> {
        let folder = fs::canonicalize(database)
            .ok()
            .and_then(|path| path.parent().map(Path::to_owned));
        let folder = folder.unwrap_or_default();
        let draft = Self {
            path: folder.join(format!("{FILE}.{}", random::jti())),
            place: folder.join(FILE),
        };
        files::create_new(&draft.path)
            .and_then(|mut file| writeln!(file, "{password}").and_then(|()| file.sync_all()))
            .map_err(|error| StartError::FirstPassword(draft.place.clone(), error))?;
        Ok(draft)
    }

    /// Gives the file its name, in place of one from a database that was removed.
    fn keep(self) -> PathBuf {
        if fs::rename(&self.path, &self.place).is_ok() {
            self.place
        } else {
            self.path
        }
    }

    fn discard(self) {
        let _ = fs::remove_file(self.path);
    }
}
