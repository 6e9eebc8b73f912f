//! `latchkey audit`.

use std::{process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use serde_json::{Map, Value, json};

use super::{Failure, StoreArgs, output};
use crate::{
    app::operator,
    config::value,
    domain::{audit::AuditEntry, ids::UserId},
    ports::{AuditQuery, Clock},
};

/// Events at a time.
const PAGE: i64 = 1000;

#[derive(Args, Debug)]
pub(super) struct AuditArgs {
    /// Only what concerns this user: a name, or the id of a user who was deleted
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// How far back
    #[arg(long, value_name = "SPAN", default_value = "24h", value_parser = value::duration)]
    since: Duration,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

pub(super) async fn run(arguments: AuditArgs, clock: Arc<dyn Clock>) -> Result<ExitCode, Failure> {
    let trail = operator::trail(arguments.store.operator(), clock).await?;
    let (mut user, mut unknown) = (None, None);
    if let Some(text) = &arguments.user {
        user = trail.user_named(text).await?;
        if user.is_none() {
            (user, unknown) = (Some(UserId::new(text)), Some(text));
        }
    }
    let since = Some(trail.now() - value::delta(arguments.since));
    let mut query = AuditQuery { user, since, limit: PAGE, ..AuditQuery::default() };
    let mut rows = Vec::new();
    loop {
        let page = trail.page(&query).await?;
        let Some(last) = page.last() else { break };
        (query.after, unknown) = (Some((last.at, last.id)), None);
        for event in page {
            if arguments.json {
                output::json_line(&as_json(&event));
            } else {
                rows.push(as_row(&event));
            }
        }
    }
    if let Some(text) = unknown {
        let none = format!("there is no user {text}, and in this time no event of a deleted user with this id");
        return Err(Failure::Failed(none));
    }
    if !arguments.json {
        let headings = ["TIME (UTC)", "EVENT", "CAUSE", "BY", "USER", "SESSION", "ADDRESS", "TIMES", "DETAILS"];
        output::table(&headings, &rows, "nothing happened in this time");
    }
    Ok(ExitCode::SUCCESS)
}

fn as_row(event: &AuditEntry) -> Vec<String> {
    let details: Vec<String> = event.details.iter().map(|(name, value)| format!("{name}={value}")).collect();
    vec![
        event.at.format("%F %T").to_string(),
        event.event.clone(),
        event.cause.clone().unwrap_or_default(),
        event.actor.clone(),
        event.user.as_ref().map(ToString::to_string).unwrap_or_default(),
        event.session.map(|id| id.to_string()).unwrap_or_default(),
        event.origin.ip.clone().unwrap_or_default(),
        event.times.to_string(),
        details.join(" "),
    ]
}

fn as_json(event: &AuditEntry) -> Value {
    let details: Map<String, Value> =
        event.details.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    json!({
        "id": event.id,
        "at": event.at.to_rfc3339(),
        "event": event.event,
        "cause": event.cause,
        "actor": event.actor,
        "user": event.user.as_ref().map(ToString::to_string),
        "session": event.session.map(|id| id.to_string()),
        "jti": event.jti,
        "ip": event.origin.ip,
        "user_agent": event.origin.user_agent,
        "details": details,
        "times": event.times,
    })
}
