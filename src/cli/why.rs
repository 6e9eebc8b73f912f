//! `latchkey why`: the story of a session or a token in plain English.

use std::{process::ExitCode, sync::Arc};

use clap::Args;

use super::{Failure, StoreArgs, output};
use crate::{
    app::operator,
    domain::{
        audit::{AuditEntry, EventKind},
        session::{RevokedReason, SessionState, Standing},
        time::Moment,
    },
    ports::Clock,
    service::trail::{Story, TokenStory},
};

#[derive(Args, Debug)]
pub(super) struct WhyArgs {
    /// The claim sid of any token, or the claim jti of a refresh token or of a token that the audit trail names
    #[arg(value_name = "JTI|SID")]
    id: String,
    #[command(flatten)]
    store: StoreArgs,
}

pub(super) async fn run(arguments: &WhyArgs, clock: Arc<dyn Clock>) -> Result<ExitCode, Failure> {
    let trail = operator::trail(arguments.store.operator(), clock).await?;
    let id = arguments.id.trim();
    let Some(story) = trail.why(id).await? else {
        return Err(Failure::Failed(format!(
            "nothing is known of {id}: give the claim sid of the token; a jti is known of refresh tokens, of tokens that \
             an audit event names, and with LATCHKEY_AUDIT_REFRESHES=true of every access token"
        )));
    };
    for line in told(&story) {
        output::line(&line);
    }
    Ok(ExitCode::SUCCESS)
}

fn told(story: &Story) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(state) = &story.state {
        lines.extend(beginning(state, story.token));
    } else {
        lines.push("The session is not in the database any more: it was removed after its end.".to_owned());
    }
    lines.extend(story.events.iter().map(happened));
    if let (Some(state), Some(standing)) = (&story.state, story.standing) {
        lines.push(String::new());
        lines.push(now(state, standing));
    }
    lines
}

fn beginning(state: &SessionState, token: Option<TokenStory>) -> Vec<String> {
    let session = &state.session;
    let user = match &state.user {
        Some(user) => format!("{} ({})", user.username, user.id),
        None => format!("a user who was deleted ({})", session.user_id),
    };
    let mut lines = vec![format!("Session {} of {user}.", session.id)];
    match token {
        Some(TokenStory::Refresh(generation)) if generation == session.generation => {
            lines.push(format!("The token is its refresh token of generation {generation}, the latest."));
        }
        Some(TokenStory::Refresh(generation)) => lines.push(format!(
            "The token is its refresh token of generation {generation}, which has been spent: the latest is {}.",
            session.generation
        )),
        Some(TokenStory::Noted) => lines.push("The token is an access token of it.".to_owned()),
        None => {}
    }
    let times = match session.generation {
        0 => "It has not been refreshed".to_owned(),
        1 => format!("It was refreshed once, at {}", moment(session.rotated_at)),
        times => format!("It was refreshed {times} times, the last time at {}", moment(session.rotated_at)),
    };
    let from = session.last_ip.as_ref().map(|ip| format!(", from {ip}")).unwrap_or_default();
    let agent = session.user_agent.as_ref().map(|agent| format!(" with {agent}")).unwrap_or_default();
    lines.push(format!("{times}{from}{agent}."));
    lines.push(String::new());
    lines
}

fn happened(event: &AuditEntry) -> String {
    let detail =
        |name: &str| event.details.iter().find(|(known, _)| known == name).map_or("?", |(_, value)| value.as_str());
    let cause = event.cause.as_deref().unwrap_or("no cause given");
    let what = match EventKind::parse(&event.event) {
        Some(EventKind::SignIn) => "the user signed in".to_owned(),
        Some(EventKind::SignInRefused) => format!("a sign-in was refused ({cause})"),
        Some(EventKind::Refreshed) => format!("it was refreshed, which made generation {}", detail("generation")),
        Some(EventKind::RefreshRepeated) => {
            format!("its last refresh was repeated within the grace and got generation {} again", detail("generation"))
        }
        Some(EventKind::Reuse) => format!(
            "the refresh token of generation {} came back, {} s after generation {} was made: the session was revoked, \
             because either this client or the one at {} holds a stolen token",
            detail("presented_generation"),
            detail("seconds_since_rotation"),
            detail("current_generation"),
            detail("holder_ip"),
        ),
        Some(EventKind::SessionRevoked) => format!("the session was revoked: {}", reason(cause)),
        Some(EventKind::CutOff) => format!("everything that the user held was revoked ({cause})"),
        Some(EventKind::EverybodyCutOff) => "everybody was signed out".to_owned(),
        Some(EventKind::TokenRefused) => {
            format!("a token of it was refused by {} ({} token, {cause})", detail("view"), detail("token"))
        }
        Some(EventKind::UserCreated) => "the user was made".to_owned(),
        None => format!("{} ({cause})", event.event),
    };
    let from = event.origin.ip.as_ref().map(|ip| format!(", from {ip}")).unwrap_or_default();
    let agent = event.origin.user_agent.as_ref().map(|agent| format!(" with {agent}")).unwrap_or_default();
    let times = if event.times > 1 { format!(", {} times", event.times) } else { String::new() };
    format!("{}  {what}{from}{agent}, by {}{times}.", moment(event.at), event.actor)
}

fn reason(cause: &str) -> &str {
    match RevokedReason::parse(cause) {
        Some(RevokedReason::LoggedOut) => "the user logged out",
        Some(RevokedReason::Operator) => "an operator ended it",
        Some(RevokedReason::Reuse) => "a spent refresh token came back",
        Some(RevokedReason::SessionLimit) => "the user has too many sessions, and this was the oldest",
        Some(RevokedReason::User) => "the user ended it from another session",
        None => cause,
    }
}

fn now(state: &SessionState, standing: Standing) -> String {
    let session = &state.session;
    match standing {
        Standing::Current | Standing::Grace | Standing::Spent | Standing::Unissued => {
            format!("It is live, until {} at the latest.", moment(session.expires_at))
        }
        Standing::Revoked(why) => {
            let at = session.revoked.map(|(at, _)| moment(at)).unwrap_or_default();
            format!("It is dead since {at}: {}. All its tokens are refused.", reason(why.as_str()))
        }
        Standing::CutOff => "It is dead: the user was cut off after it began. All its tokens are refused.".to_owned(),
        Standing::NoActiveUser => {
            "It is dead: the user is inactive or was deleted. All its tokens are refused.".to_owned()
        }
        Standing::Ended => format!("It is over since {}.", moment(session.expires_at)),
    }
}

fn moment(moment: Moment) -> String {
    moment.format("%F %T UTC").to_string()
}
