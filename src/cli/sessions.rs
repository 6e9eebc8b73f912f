//! `latchkey sessions`.

use std::{process::ExitCode, sync::Arc};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failure, StoreArgs, output, passwords, users::username};
use crate::app::operator;
use latchkey_domain::{ids::SessionId, ports::Clock, username::Username};
use latchkey_service::users::UserAdmin;

#[derive(Args, Debug)]
pub(super) struct SessionsArgs {
    #[command(subcommand)]
    command: SessionsCommand,
}

#[derive(Debug, Subcommand)]
enum SessionsCommand {
    /// List the live sessions of a user
    List {
        #[command(flatten)]
        of: Target,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke one session, all sessions of a user, or those of all users, without confirmation
    #[command(
        after_help = "Their tokens are refused at once. After a restore of the database from a backup, run `latchkey sessions revoke --all`: the backup lacks all later revocations."
    )]
    Revoke {
        #[command(flatten)]
        what: Selection,
        #[command(flatten)]
        store: StoreArgs,
    },
}

#[derive(Args, Debug)]
struct Target {
    /// Username
    #[arg(long, value_name = "USERNAME", value_parser = username)]
    user: Username,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Selection {
    /// All sessions of this user
    #[arg(long, value_name = "USERNAME", value_parser = username)]
    user: Option<Username>,
    /// Session with this id: the claim sid, or an id from `latchkey sessions list`
    #[arg(long, value_name = "SID", value_parser = session_id)]
    session: Option<SessionId>,
    /// All sessions of all users
    #[arg(long)]
    all: bool,
}

fn session_id(text: &str) -> Result<SessionId, String> {
    SessionId::parse(text)
        .ok_or_else(|| "expected the id of a session, a UUID in lowercase".to_owned())
}

pub(super) async fn run(
    arguments: SessionsArgs,
    clock: Arc<dyn Clock>,
) -> Result<ExitCode, Failure> {
    match arguments.command {
        SessionsCommand::List { of, json } => {
            let accounts = operator::accounts(of.store.operator(), &passwords()?, clock).await?;
            let sessions = accounts.sessions(&of.user).await?;
            if json {
                let all: Vec<_> = sessions
                    .iter()
                    .map(|session| {
                        json!({
                            "id": session.id.to_string(),
                            "created_at": session.created_at.to_rfc3339(),
                            "last_used_at": session.rotated_at.to_rfc3339(),
                            "expires_at": session.expires_at.to_rfc3339(),
                            "ip": session.last_ip,
                            "user_agent": session.user_agent,
                        })
                    })
                    .collect();
                output::json(&json!(all));
            } else {
                let rows: Vec<_> = sessions
                    .iter()
                    .map(|session| {
                        vec![
                            session.id.to_string(),
                            session.created_at.format("%F %T").to_string(),
                            session.rotated_at.format("%F %T").to_string(),
                            session.last_ip.clone().unwrap_or_default(),
                            session.user_agent.clone().unwrap_or_default(),
                        ]
                    })
                    .collect();
                let none = format!("{} has no live sessions", of.user.as_str());
                output::table(
                    &["SESSION", "CREATED", "LAST USED", "ADDRESS", "USER AGENT"],
                    &rows,
                    &none,
                );
            }
        }
        SessionsCommand::Revoke { what, store } => {
            let accounts =
                operator::accounts(store.operator(), &passwords()?, Arc::clone(&clock)).await?;
            revoke(&accounts, what).await?;
            store.revoked(clock.now())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn revoke(accounts: &UserAdmin, what: Selection) -> Result<(), Failure> {
    if let Some(user) = what.user {
        let user = accounts.sign_out(&user).await?;
        output::line(&format!("revoked all sessions of {}", user.username));
    } else if let Some(id) = what.session {
        match accounts.end_session(id).await? {
            Some(true) => output::line(&format!("revoked session {id}")),
            Some(false) => output::line(&format!("session {id} was revoked before")),
            None => return Err(Failure::Failed(format!("there is no session {id}"))),
        }
    } else {
        let count = accounts
            .revoke_all_users(|done| tracing::info!(users = done, "sessions revoked"))
            .await?;
        output::line(&format!(
            "revoked all sessions of {count} user{}",
            if count == 1 { "" } else { "s" }
        ));
    }
    Ok(())
}
