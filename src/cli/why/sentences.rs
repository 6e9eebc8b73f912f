//! Sentences about audit events and sessions.

use latchkey_domain::{
    audit::{AuditEntry, EventKind},
    session::{RevokedReason, SessionState, TokenStatus},
    time::Moment,
};

pub(super) fn happened(event: &AuditEntry) -> String {
    let detail = |name: &str| detail(event, name);
    let cause = event.cause.as_deref().unwrap_or("unknown cause");
    let from = origin(
        event.origin.ip.as_deref(),
        event.origin.user_agent.as_deref(),
    );
    let what = match EventKind::parse(&event.event) {
        Some(EventKind::SignIn) => "the user signed in".to_owned(),
        Some(EventKind::SignInRefused) => format!("a sign-in was refused ({cause})"),
        Some(EventKind::Refreshed) => {
            format!("it was refreshed to generation {},", detail("generation"))
        }
        Some(EventKind::RefreshRepeated) => {
            format!(
                "its last refresh was repeated within the reuse grace, and returned generation {} again",
                detail("generation")
            )
        }
        Some(EventKind::RefreshRepeatedElsewhere) => format!(
            "a client with {} repeated its last refresh within the reuse grace, and received generation {} again",
            another(detail("differs")),
            detail("generation")
        ),
        Some(EventKind::Reuse) => reuse(event, &from),
        Some(EventKind::SessionRevoked) if cause == RevokedReason::Operator.as_str() => {
            let name = event.actor.strip_prefix("operator").unwrap_or_default();
            format!(
                "the session was revoked: an operator{} ended it",
                named(name)
            )
        }
        Some(EventKind::SessionRevoked) => format!("the session was revoked: {}", reason(cause)),
        Some(EventKind::AllSessionsRevoked) => {
            format!(
                "all sessions of the user were revoked: {}",
                epoch_cause(cause)
            )
        }
        Some(EventKind::AllUsersSignedOut) => "all sessions of all users were revoked".to_owned(),
        Some(EventKind::TokenRefused) => match detail("token") {
            "access" => format!(
                "an access token was refused by {} ({cause})",
                view(detail("view"))
            ),
            _ => format!(
                "a refresh token was refused by {} ({cause})",
                view(detail("view"))
            ),
        },
        Some(EventKind::UserCreated) => "the user was created".to_owned(),
        Some(EventKind::UserUpdated) => format!("the user was changed ({})", detail("fields")),
        // Events of keys do not belong to a session.
        Some(
            EventKind::KeyCreated
            | EventKind::KeyPruned
            | EventKind::KeyRevoked
            | EventKind::KeysRewrapped,
        )
        | None => {
            format!("{} ({cause})", event.event)
        }
    };
    let from = if event.event == EventKind::Reuse.as_str() {
        String::new()
    } else {
        from
    };
    // The sentence itself names users, clients, and the operator of a revocation.
    let by = match event.actor.strip_prefix("operator") {
        Some(_) if cause == RevokedReason::Operator.as_str() => String::new(),
        Some(name) => format!(", by an operator{}", named(name)),
        None => String::new(),
    };
    let times = if event.times > 1 {
        format!(", {} times within a second", event.times)
    } else {
        String::new()
    };
    format!("{}  {what}{from}{by}{times}.", moment(event.at))
}

/// Returns the name of an operator in parentheses, or nothing if it is unknown.
fn named(name: &str) -> String {
    let name = name.trim();
    if name.is_empty() {
        String::new()
    } else {
        format!(" ({name})")
    }
}

fn detail<'a>(event: &'a AuditEntry, name: &str) -> &'a str {
    event
        .details
        .iter()
        .find(|(known, _)| known == name)
        .map_or("?", |(_, value)| value.as_str())
}

/// Returns the sentences about the reuse of a spent refresh token. Events of earlier versions have
/// neither a view nor a difference.
fn reuse(event: &AuditEntry, from: &str) -> String {
    let detail = |name: &str| detail(event, name);
    let to = match detail("view") {
        "refresh" | "?" => String::new(),
        other => format!(" to {}", view(other)),
    };
    let differs = match (detail("differs"), detail("repeats")) {
        ("none" | "?", _) => String::new(),
        (differs, "?") => format!(" It came from a client with {}.", another(differs)),
        (differs, repeats) => {
            let another = another(differs);
            format!(
                " It came from a client with {another}, after the {repeats} repeats that such clients may have."
            )
        }
    };
    format!(
        "the spent refresh token of generation {} was presented again{to}{from}, {} s after the client at {} received generation \
         {}.{differs} Either a client repeated an old refresh, such as a suspended tab or a restored device, or one of \
         the two clients has a stolen token. The session was revoked",
        detail("presented_generation"),
        detail("seconds_since_rotation"),
        detail("holder_ip"),
        detail("current_generation"),
    )
}

fn another(differs: &str) -> &str {
    match differs {
        "address" => "another address",
        "agent" => "another user agent",
        "address,agent" => "another address and another user agent",
        other => other,
    }
}

pub(super) fn origin(ip: Option<&str>, agent: Option<&str>) -> String {
    let ip = ip.map(|ip| format!(" from {ip}")).unwrap_or_default();
    let agent = agent
        .map(|agent| format!(" with {agent:?}"))
        .unwrap_or_default();
    format!("{ip}{agent}")
}

fn view(view: &str) -> &str {
    match view {
        "blacklist" => "a log-out",
        "protected" => "a view that requires an access token",
        "refresh" => "a refresh",
        other => other,
    }
}

/// Returns the reason for which the session epoch of a user was raised.
fn epoch_cause(cause: &str) -> &str {
    match cause {
        "activated" => "the user was activated again",
        "deactivated" => "the user was deactivated",
        "deleted" => "the user was deleted",
        "password_changed" => "a new password was set",
        "signed_out_everywhere" => "the user signed out everywhere",
        other => other,
    }
}

pub(super) fn reason(cause: &str) -> &str {
    match RevokedReason::parse(cause) {
        Some(RevokedReason::LoggedOut) => "the user logged out",
        Some(RevokedReason::Operator) => "an operator ended it",
        Some(RevokedReason::Reuse) => "a spent refresh token was presented again",
        Some(RevokedReason::SessionLimit) => {
            "the user had too many sessions, and this was the oldest"
        }
        Some(RevokedReason::User) => "the user ended it in the list of sessions",
        None => cause,
    }
}

pub(super) fn now(state: &SessionState, standing: TokenStatus) -> String {
    let session = &state.session;
    match (standing, &state.user) {
        (
            TokenStatus::Current
            | TokenStatus::Grace
            | TokenStatus::Spent
            | TokenStatus::UnknownGeneration,
            _,
        ) => {
            format!(
                "The session is live, and expires at {}.",
                moment(session.expires_at)
            )
        }
        (TokenStatus::Revoked(why), _) => {
            let at = session
                .revoked
                .map(|(at, _)| moment(at))
                .unwrap_or_default();
            format!(
                "The session was revoked at {at}: {}. All its tokens are refused.",
                reason(why.as_str())
            )
        }
        (TokenStatus::StaleEpoch, _) => {
            "The session was revoked, with all sessions of the user. All its tokens are refused."
                .to_owned()
        }
        (TokenStatus::NoActiveUser, Some(_)) => {
            "The session has ended: the user is inactive. All its tokens are refused.".to_owned()
        }
        (TokenStatus::NoActiveUser, None) => {
            "The session has ended: the user was deleted. All its tokens are refused.".to_owned()
        }
        (TokenStatus::Ended, _) => {
            format!("The session expired at {}.", moment(session.expires_at))
        }
    }
}

pub(super) fn moment(moment: Moment) -> String {
    moment.format("%F %T UTC").to_string()
}
