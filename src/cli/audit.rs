//! `latchkey audit`.

use std::{collections::HashMap, process::ExitCode, sync::Arc, time::Duration};

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime};
use clap::Args;
use serde_json::{Map, Value, json};

use super::{Failure, StoreArgs, output};
use crate::{app::operator, config::value};
use latchkey_domain::{
    audit::{AuditEntry, EventKind},
    ids::UserId,
    ports::{AuditQuery, Clock},
    time::Moment,
};
use latchkey_service::audit::trail::Trail;

/// Number of events in one query.
const PAGE_SIZE: i64 = 1000;

#[derive(Args, Debug)]
pub(super) struct AuditArgs {
    /// Only events of this user: a username, or the id of a deleted user
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Start of the period: a duration before now, or a time such as 2026-01-31T08:00:00Z
    #[arg(long, value_name = "DURATION|TIME", default_value = "24h", value_parser = when)]
    since: When,
    /// End of the period: a duration before now, or a time such as 2026-01-31T08:00:00Z
    #[arg(long, value_name = "DURATION|TIME", value_parser = when)]
    until: Option<When>,
    /// Only events with this name, such as reuse (docs/reference/audit.md lists them); may be
    /// repeated
    #[arg(long = "event", value_name = "EVENT", value_parser = event_kind)]
    events: Vec<EventKind>,
    /// Print one JSON object for each line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// Limit of the period: a time, or a duration before now.
#[derive(Clone, Copy, Debug)]
enum When {
    Ago(Duration),
    At(Moment),
}

impl When {
    fn moment(self, now: Moment) -> Moment {
        match self {
            Self::Ago(span) => now - value::delta(span),
            Self::At(moment) => moment,
        }
    }
}

fn when(text: &str) -> Result<When, String> {
    if let Ok(span) = value::duration(text) {
        return Ok(When::Ago(span));
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(When::At(time.to_utc()));
    }
    // The table shows times in this format, in UTC.
    let shown = ["%F %T", "%FT%T", "%F %H:%M", "%FT%H:%M"];
    let shown = shown
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    let day = || {
        NaiveDate::parse_from_str(text, "%F")
            .ok()
            .map(|day| day.and_time(NaiveTime::MIN))
    };
    let time = shown
        .or_else(day)
        .filter(|time| (1970..=9999).contains(&time.year()));
    time.map(|time| When::At(time.and_utc())).ok_or_else(|| {
        "expected a duration such as 2h, or a time in UTC such as 2026-01-31T08:00:00Z".to_owned()
    })
}

fn event_kind(text: &str) -> Result<EventKind, String> {
    EventKind::parse(text).ok_or_else(|| {
        let names: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("expected one of {}", names.join(", "))
    })
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
    let now = trail.now();
    let (since, until) = (
        arguments.since.moment(now),
        arguments.until.map(|until| until.moment(now)),
    );
    if until.is_some_and(|until| until <= since) {
        return Err(Failure::Config(
            "--until is not after --since: expected a later time, or a shorter duration".to_owned(),
        ));
    }
    let kinds = arguments.events;
    let mut query = AuditQuery {
        user,
        since: Some(since),
        until,
        kinds,
        limit: PAGE_SIZE,
        ..AuditQuery::default()
    };
    let mut names = HashMap::new();
    let mut rows = Vec::new();
    loop {
        let page = trail.page(&query).await?;
        let Some(last) = page.last() else { break };
        (query.after, unknown) = (Some((last.at, last.id)), None);
        for event in page {
            let name = name_of(&trail, &mut names, event.user.as_ref()).await?;
            if arguments.json {
                output::json_line(&as_json(&event, name));
            } else {
                rows.push(as_row(&event, name));
            }
        }
    }
    if let Some(text) = unknown {
        let none = format!(
            "there is no user {text}, and no event of a deleted user with this id in this period"
        );
        return Err(Failure::Failed(none));
    }
    if !arguments.json {
        let headings = [
            "TIME (UTC)",
            "EVENT",
            "CAUSE",
            "BY",
            "USER",
            "SESSION",
            "ADDRESS",
            "TIMES",
            "DETAILS",
        ];
        output::table(&headings, &rows, "there are no events in this period");
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the current username of a user, or `None` if the user was deleted.
async fn name_of<'a>(
    trail: &Trail,
    names: &'a mut HashMap<UserId, Option<String>>,
    user: Option<&UserId>,
) -> Result<Option<&'a str>, Failure> {
    let Some(id) = user else { return Ok(None) };
    if !names.contains_key(id) {
        names.insert(id.clone(), trail.user(id).await?.map(|user| user.username));
    }
    Ok(names.get(id).and_then(Option::as_deref))
}

fn as_row(event: &AuditEntry, name: Option<&str>) -> Vec<String> {
    let user = match (&event.user, name) {
        (Some(id), Some(name)) => format!("{name} ({id})"),
        (Some(id), None) => id.to_string(),
        (None, _) => String::new(),
    };
    let details: Vec<String> = event
        .details
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    vec![
        event.at.format("%F %T").to_string(),
        event.event.clone(),
        event.cause.clone().unwrap_or_default(),
        event.actor.clone(),
        user,
        event.session.map(|id| id.to_string()).unwrap_or_default(),
        event.origin.ip.clone().unwrap_or_default(),
        event.times.to_string(),
        details.join(" "),
    ]
}

fn as_json(event: &AuditEntry, name: Option<&str>) -> Value {
    let details: Map<String, Value> = event
        .details
        .iter()
        .map(|(name, value)| (name.clone(), value.clone().into()))
        .collect();
    json!({
        "id": event.id,
        "at": event.at.to_rfc3339(),
        "event": event.event,
        "cause": event.cause,
        "actor": event.actor,
        "user": event.user.as_ref().map(ToString::to_string),
        "username": name,
        "session": event.session.map(|id| id.to_string()),
        "jti": event.jti,
        "ip": event.origin.ip,
        "user_agent": event.origin.user_agent,
        "details": details,
        "times": event.times,
    })
}
