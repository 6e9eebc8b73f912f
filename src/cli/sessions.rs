//! `latchkey sessions`.

use std::{process::ExitCode, sync::Arc};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failure, StoreArgs, output, passwords, users::username};
use crate::{app::operator, domain::username::Username, ports::Clock};

#[derive(Args, Debug)]
pub(super) struct SessionsArgs {
    #[command(subcommand)]
    command: SessionsCommand,
}

#[derive(Debug, Subcommand)]
enum SessionsCommand {
    /// Show the live sessions of a user
    List {
        #[command(flatten)]
        of: Whose,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// End all sessions of a user: every token is refused from now on
    Revoke {
        #[command(flatten)]
        of: Whose,
    },
}

#[derive(Args, Debug)]
struct Whose {
    /// The user's name
    #[arg(long, value_name = "USERNAME", value_parser = username)]
    user: Username,
    #[command(flatten)]
    store: StoreArgs,
}

pub(super) async fn run(arguments: SessionsArgs, clock: Arc<dyn Clock>) -> Result<ExitCode, Failure> {
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
                output::table(&["SESSION", "CREATED", "LAST USED", "ADDRESS", "USER AGENT"], &rows, &none);
            }
        }
        SessionsCommand::Revoke { of } => {
            let accounts = operator::accounts(of.store.operator(), &passwords()?, clock).await?;
            let user = accounts.sign_out(&of.user).await?;
            output::line(&format!("ended all sessions of {}", user.username));
        }
    }
    Ok(ExitCode::SUCCESS)
}
