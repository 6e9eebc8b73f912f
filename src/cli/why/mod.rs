//! `latchkey why`: the history of a user, a session or a token, in sentences.

mod sentences;

use std::{process::ExitCode, sync::Arc};

use clap::Args;

use self::sentences::{happened, moment, now, origin};
use super::{Failure, StoreArgs, output};
use crate::app::operator;
use latchkey_domain::{ports::Clock, session::SessionState};
use latchkey_service::audit::trail::{Answer, History, Search, TokenHistory, UserHistory};

#[derive(Args, Debug)]
pub(super) struct WhyArgs {
    /// Username or id of a user, claim sid of any token, or claim jti of a refresh token or of a
    /// token in the audit trail
    #[arg(value_name = "USER|SID|JTI")]
    id: String,
    /// Search all refresh tokens of all sessions, without a time limit
    #[arg(long)]
    exhaustive: bool,
    #[command(flatten)]
    store: StoreArgs,
}

pub(super) async fn run(arguments: &WhyArgs, clock: Arc<dyn Clock>) -> Result<ExitCode, Failure> {
    let trail = operator::trail(arguments.store.operator(), clock).await?;
    let id = arguments.id.trim();
    let mut progress = |sessions: u64, tokens: u64| {
        output::progress(&format!(
            "searched {} of {}",
            counted(tokens, "refresh token"),
            counted(sessions, "session")
        ));
    };
    let mut search = Search::new(arguments.exhaustive, &mut progress);
    match trail.why(id, &mut search).await? {
        Answer::Story(story) => {
            for line in session_lines(&story) {
                output::line(&line);
            }
            Ok(ExitCode::SUCCESS)
        }
        Answer::User(story) => {
            for line in user_lines(&story) {
                output::line(&line);
            }
            Ok(ExitCode::SUCCESS)
        }
        Answer::Unknown => Err(Failure::Failed(format!(
            "no user, session or token matches {id}: try the username, or the claim sid of the token. An access token is found by its jti \
             only if an audit event names it: that of a sign-in, and with LATCHKEY_AUDIT_REFRESHES=true that of a refresh"
        ))),
        Answer::Stopped => Err(Failure::Failed(format!(
            "{id} was not found among {} refresh tokens of {}. The search covers {}: try the claim sid of the token, \
             or --exhaustive",
            search.tokens,
            counted(search.sessions, "session"),
            Search::limits(),
        ))),
    }
}

fn counted(number: u64, thing: &str) -> String {
    if number == 1 {
        format!("1 {thing}")
    } else {
        format!("{number} {thing}s")
    }
}

fn user_lines(story: &UserHistory) -> Vec<String> {
    let (id, days) = (&story.id, UserHistory::DAYS);
    let mut lines = match &story.user {
        None => vec![format!(
            "The user {id} was deleted. All sign-ins and tokens are refused."
        )],
        Some(user) if user.is_active => {
            let last = user.last_login.map_or_else(|| "never".to_owned(), moment);
            let live = counted(
                story.sessions.try_into().unwrap_or(u64::MAX),
                "live session",
            );
            vec![format!(
                "User {} ({id}) is active, with {live}. Last sign-in: {last}.",
                user.username
            )]
        }
        Some(user) => {
            vec![format!(
                "User {} ({id}) is inactive. All sign-ins and tokens are refused.",
                user.username
            )]
        }
    };
    lines.push(String::new());
    if story.events.is_empty() {
        lines.push(format!(
            "Nothing was refused or ended in the last {days} days."
        ));
        return lines;
    }
    let limit = if story.events.len() == UserHistory::EVENTS {
        ", the latest"
    } else {
        ""
    };
    lines.push(format!("Refused or ended in the last {days} days{limit}:"));
    lines.extend(story.events.iter().map(|event| {
        let session = event
            .session
            .map(|id| format!(" Session {id}."))
            .unwrap_or_default();
        format!("{}{session}", happened(event))
    }));
    lines
}

fn session_lines(story: &History) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(state) = &story.state {
        lines.extend(beginning(state, story.token));
    } else {
        lines.push(
            "The session has ended, and is no longer in the database. Its events in the audit trail:"
                .to_owned(),
        );
        lines.push(String::new());
    }
    lines.extend(story.events.iter().map(happened));
    if let (Some(state), Some(standing)) = (&story.state, story.standing) {
        lines.push(String::new());
        lines.push(now(state, standing));
    }
    lines
}

fn beginning(state: &SessionState, token: Option<TokenHistory>) -> Vec<String> {
    let session = &state.session;
    let user = match &state.user {
        Some(user) => format!("{} ({})", user.username, user.id),
        None => format!("a user who was deleted ({})", session.user_id),
    };
    let mut lines = vec![format!("Session {} of {user}.", session.id)];
    match token {
        Some(TokenHistory::Refresh(generation)) if generation == session.generation => {
            lines.push(format!("The token is its refresh token of generation {generation}, the current one."));
        }
        Some(TokenHistory::Refresh(generation)) => lines.push(format!(
            "The token is its refresh token of generation {generation}, which is spent. The current generation is {}.",
            session.generation
        )),
        Some(TokenHistory::Noted) => lines.push("The token is one of its access tokens.".to_owned()),
        None => {}
    }
    let (from, agent) = (session.last_ip.as_deref(), session.user_agent.as_deref());
    match session.generation {
        0 => lines.push("It has not been refreshed.".to_owned()),
        1 => lines.push(format!(
            "It was refreshed once, at {}{}.",
            moment(session.rotated_at),
            origin(from, agent)
        )),
        times => lines.push(format!(
            "It was refreshed {times} times, the last time at {}{}.",
            moment(session.rotated_at),
            origin(from, agent)
        )),
    }
    lines.push(String::new());
    lines
}
