//! `latchkey users`.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read as _},
    os::fd::AsFd as _,
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Failure, StoreArgs, output, passwords};
use crate::app::operator;
use latchkey_domain::{
    email::EmailAddress,
    password::{MAX_PASSWORD, Password},
    ports::Clock,
    user::{PersonName, User, UserChanges},
    username::{NewUsername, Username},
};
use latchkey_files as files;
use latchkey_service::users::{Registration, UserAdmin};

#[derive(Args, Debug)]
pub(super) struct UsersArgs {
    #[command(subcommand)]
    command: UsersCommand,
}

#[derive(Debug, Subcommand)]
enum UsersCommand {
    /// Create a user
    Create {
        /// Username of letters, digits and ASCII punctuation such as @ . + - _
        #[arg(value_parser = new_username)]
        username: NewUsername,
        #[command(flatten)]
        password: PasswordArgs,
        /// E-mail address
        #[arg(long, value_parser = email)]
        email: Option<EmailAddress>,
        /// Set the staff flag
        #[arg(long)]
        staff: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// List all users
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Change the name, e-mail address or staff flag of a user, without ending sessions
    #[command(
        after_help = "Access tokens with a changed claim keep its old value until they expire."
    )]
    Update {
        /// Username
        #[arg(value_parser = username)]
        username: Username,
        #[command(flatten)]
        changes: ChangesArgs,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Show a user
    Show {
        /// Username or id
        #[arg(value_name = "USERNAME|ID", value_parser = username)]
        who: Username,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Allow a user to sign in again
    Activate(UserArg),
    /// Prevent a user from signing in, and revoke all sessions
    Deactivate(UserArg),
    /// Delete a user, and revoke all sessions
    Delete(UserArg),
    /// Set a new password, and revoke all sessions
    SetPassword {
        #[command(flatten)]
        who: UserArg,
        #[command(flatten)]
        password: PasswordArgs,
    },
}

#[derive(Args, Debug)]
struct UserArg {
    /// Username
    #[arg(value_parser = username)]
    username: Username,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
struct ChangesArgs {
    /// First name; '' removes it
    #[arg(long, value_name = "NAME", value_parser = person_name)]
    first_name: Option<PersonName>,
    /// Last name; '' removes it
    #[arg(long, value_name = "NAME", value_parser = person_name)]
    last_name: Option<PersonName>,
    /// E-mail address; '' removes it
    #[arg(long, value_name = "EMAIL", value_parser = new_email)]
    email: Option<NewEmail>,
    /// Set the staff flag
    #[arg(long, conflicts_with = "no_staff")]
    staff: bool,
    /// Clear the staff flag
    #[arg(long)]
    no_staff: bool,
}

impl From<ChangesArgs> for UserChanges {
    fn from(arguments: ChangesArgs) -> Self {
        let ChangesArgs {
            first_name,
            last_name,
            email,
            staff,
            no_staff,
        } = arguments;
        let is_staff = (staff || no_staff).then_some(staff);
        Self {
            email: email.map(|email| email.0),
            first_name,
            last_name,
            is_staff,
        }
    }
}

/// New e-mail address. `None` removes it.
#[derive(Clone, Debug)]
struct NewEmail(Option<EmailAddress>);

#[derive(Args, Debug)]
struct PasswordArgs {
    /// Read the password from the first line of standard input, without a prompt
    #[arg(long)]
    password_stdin: bool,
}

pub(super) fn username(text: &str) -> Result<Username, String> {
    Username::parse(text).map_err(|error| error.to_string())
}

fn new_username(text: &str) -> Result<NewUsername, String> {
    Username::parse_new(text).map_err(|error| error.to_string())
}

fn email(text: &str) -> Result<EmailAddress, String> {
    EmailAddress::parse(text).map_err(|error| error.to_string())
}

fn new_email(text: &str) -> Result<NewEmail, String> {
    if text.is_empty() {
        Ok(NewEmail(None))
    } else {
        email(text).map(|email| NewEmail(Some(email)))
    }
}

fn person_name(text: &str) -> Result<PersonName, String> {
    PersonName::parse(text).map_err(|error| error.to_string())
}

pub(super) async fn run(arguments: UsersArgs, clock: Arc<dyn Clock>) -> Result<ExitCode, Failure> {
    match arguments.command {
        UsersCommand::Create {
            username,
            password,
            email,
            staff,
            store,
        } => {
            let password = password.read()?;
            let accounts = accounts(&store, clock).await?;
            let registration = Registration {
                username,
                password,
                email,
                is_staff: staff,
            };
            let user = accounts.create(registration).await?;
            output::line(&format!(
                "created {} with the id {}",
                user.username, user.id
            ));
            store.changed()?;
        }
        UsersCommand::List { json, store } => {
            let mut users = accounts(&store, clock).await?.list().await?;
            users.sort_by(|a, b| a.username.cmp(&b.username));
            list(&users, json);
        }
        UsersCommand::Update {
            username,
            changes,
            store,
        } => {
            let (user, fields) = accounts(&store, clock)
                .await?
                .update(&username, &changes.into())
                .await?;
            output::line(&if fields.is_empty() {
                format!(
                    "{} has these values already: nothing was changed",
                    user.username
                )
            } else {
                format!("changed {}: {}", user.username, fields.join(", "))
            });
        }
        UsersCommand::Show { who, json, store } => {
            show(&accounts(&store, clock).await?.find_any(&who).await?, json);
        }
        UsersCommand::Activate(who) => {
            let user = accounts(&who.store, clock)
                .await?
                .set_active(&who.username, true)
                .await?;
            output::line(&format!("{} can sign in", user.username));
            who.store.changed()?;
        }
        UsersCommand::Deactivate(who) => {
            let user = accounts(&who.store, Arc::clone(&clock))
                .await?
                .set_active(&who.username, false)
                .await?;
            output::line(&format!(
                "{} cannot sign in, and all sessions were revoked",
                user.username
            ));
            who.store.revoked(clock.now())?;
        }
        UsersCommand::Delete(who) => {
            let user = accounts(&who.store, Arc::clone(&clock))
                .await?
                .delete(&who.username)
                .await?;
            output::line(&format!(
                "deleted {}, and all sessions were revoked",
                user.username
            ));
            who.store.revoked(clock.now())?;
        }
        UsersCommand::SetPassword { who, password } => {
            let password = password.read()?;
            let user = accounts(&who.store, Arc::clone(&clock))
                .await?
                .set_password(&who.username, password)
                .await?;
            output::line(&format!(
                "{} has a new password, and all sessions were revoked",
                user.username
            ));
            who.store.revoked(clock.now())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn accounts(store: &StoreArgs, clock: Arc<dyn Clock>) -> Result<UserAdmin, Failure> {
    Ok(operator::accounts(store.operator(), &passwords()?, clock).await?)
}

impl PasswordArgs {
    /// Reads the password from a line of standard input, or prompts for it twice.
    fn read(&self) -> Result<Password, Failure> {
        let failed =
            |error: io::Error| Failure::Failed(format!("the password cannot be read: {error}"));
        let text = if self.password_stdin {
            one_line().map_err(failed)?
        } else if io::stdin().is_terminal() {
            let first = Zeroizing::new(rpassword::prompt_password("Password: ").map_err(failed)?);
            if Zeroizing::new(rpassword::prompt_password("Password (again): ").map_err(failed)?)
                != first
            {
                return Err(Failure::Failed(
                    "the two passwords differ: nothing was changed".to_owned(),
                ));
            }
            first
        } else {
            return Err(Failure::Failed(
                "there is no terminal to prompt for a password: use --password-stdin".to_owned(),
            ));
        };
        Password::parse_new(text).map_err(|error| Failure::Failed(error.to_string()))
    }
}

/// Maximum length of a line: more than any password in UTF-16, with a byte order mark and a line
/// break.
const MAX_LINE: usize = 2 * MAX_PASSWORD + 8;

/// Reads the first line of standard input into a buffer that is wiped. A byte order mark is
/// removed: PowerShell writes one, sometimes with UTF-16.
fn one_line() -> io::Result<Zeroizing<String>> {
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let (mut line, mut byte) = (
        Zeroizing::new(Vec::with_capacity(MAX_LINE)),
        Zeroizing::new([0]),
    );
    while line.len() < MAX_LINE && !is_ended(&line) && input.read(&mut *byte)? == 1 {
        line.extend_from_slice(&*byte);
    }
    if line.len() == MAX_LINE {
        return Err(io::Error::other(format!(
            "standard input holds more than {MAX_PASSWORD} bytes"
        )));
    }
    let text = files::text(&line)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Zeroizing::new(line.trim_end_matches('\r').to_owned()))
}

/// True if the line ends with a line break. After a byte order mark of UTF-16, a line break has two
/// bytes.
fn is_ended(line: &[u8]) -> bool {
    match line {
        [0xff, 0xfe, ..] => line.len().is_multiple_of(2) && line.ends_with(b"\n\0"),
        [0xfe, 0xff, ..] => line.len().is_multiple_of(2) && line.ends_with(b"\0\n"),
        _ => line.ends_with(b"\n"),
    }
}

fn as_json(user: &User) -> Value {
    json!({
        "id": user.id.as_str(),
        "username": user.username,
        "email": user.email,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "is_active": user.is_active,
        "is_staff": user.is_staff,
        "created_at": user.created_at.to_rfc3339(),
        "last_login": user.last_login.map(|moment| moment.to_rfc3339()),
    })
}

fn list(users: &[User], json: bool) {
    if json {
        return output::json(&json!(users.iter().map(as_json).collect::<Vec<_>>()));
    }
    let word = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let rows: Vec<_> = users
        .iter()
        .map(|user| {
            let (active, staff) = (word(user.is_active), word(user.is_staff));
            vec![
                user.username.clone(),
                user.email.clone(),
                active,
                staff,
                user.id.to_string(),
            ]
        })
        .collect();
    output::table(
        &["USERNAME", "EMAIL", "ACTIVE", "STAFF", "ID"],
        &rows,
        "there are no users",
    );
}

fn show(user: &User, json: bool) {
    let all = as_json(user);
    if json {
        return output::json(&all);
    }
    for (name, value) in all.as_object().into_iter().flatten() {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), ToOwned::to_owned);
        output::line(&format!(
            "{name:12}{}",
            if text == "null" { "never" } else { &text }
        ));
    }
}
