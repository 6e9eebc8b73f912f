//! The values of the labels in the metrics. All that can occur are listed here, so each series is exposed at 0 from the
//! start: an alert on the increase of a series that appears with its first event would miss that event.

/// Routes. A path that is none of them is `other`: a client cannot make up a label or a line in the log.
pub(super) const ROUTES: [&str; 18] = [
    "other",
    "/.well-known/jwks.json",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/api/auth/logout",
    "/api/auth/logout/all",
    "/api/auth/sessions",
    "/api/auth/sessions/{id}",
    "/api/auth/user",
    "/api/token",
    "/api/token/blacklist",
    "/api/token/refresh",
    "/api/token/verify",
    "/docs",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/openapi.json",
];

/// Outcomes of requests.
pub(super) const OUTCOMES: [&str; 3] = ["ok", "refused", "failed"];

/// Statuses of any route.
const STATUSES: [u16; 11] = [200, 204, 304, 400, 404, 405, 413, 414, 431, 500, 503];

/// Further statuses below `/api/`.
const API_STATUSES: [u16; 3] = [401, 408, 415];

/// Causes of refusals and failures on any route.
const CAUSES: [&str; 9] = [
    "bad_request",
    "head_too_large",
    "head_too_slow",
    "internal",
    "method_not_allowed",
    "not_found",
    "overloaded",
    "unavailable",
    "uri_too_long",
];

/// Further causes below `/api/`: of bodies, of credentials and of tokens.
const API_CAUSES: [&str; 42] = [
    "algorithm",
    "audience",
    "bad_authorization_header",
    "bad_credentials",
    "bad_data",
    "bad_fields",
    "bad_json",
    "bad_multipart",
    "body_too_large",
    "body_too_slow",
    "busy",
    "claim",
    "cut_off",
    "ended_by_user",
    "expired",
    "header",
    "issuer",
    "logged_out",
    "malformed",
    "no_expiry",
    "no_id",
    "no_refresh_token",
    "no_session",
    "no_type",
    "no_user_id",
    "not_authenticated",
    "not_yet_valid",
    "operator",
    "reuse",
    "revoked",
    "session_ended",
    "session_limit",
    "signature",
    "spent",
    "too_long",
    "unknown_generation",
    "unknown_key",
    "unknown_session",
    "unsupported_media_type",
    "user_inactive",
    "user_not_found",
    "wrong_type",
];

/// Statuses that this route may answer with.
pub(super) fn statuses(route: &str) -> impl Iterator<Item = u16> {
    let more: &[u16] = if is_api(route) { &API_STATUSES } else { &[] };
    STATUSES.iter().chain(more).copied()
}

/// Causes for which this route may refuse or fail.
pub(super) fn causes(route: &str) -> impl Iterator<Item = &'static str> {
    let more: &[&str] = if is_api(route) { &API_CAUSES } else { &[] };
    CAUSES.iter().chain(more).copied()
}

fn is_api(route: &str) -> bool {
    route.starts_with("/api/")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use actix_web::http::StatusCode;
    use regex::Regex;

    use super::{causes, statuses};
    use crate::domain::session::RevokedReason;

    fn sources(folder: &Path, all: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, all);
            } else if !path.to_string_lossy().ends_with("_tests.rs") {
                all.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }

    fn found<'a>(pattern: &str, text: &'a str) -> BTreeSet<&'a str> {
        Regex::new(pattern)
            .unwrap()
            .captures_iter(text)
            .map(|found| found.get(1).unwrap().as_str())
            .collect()
    }

    /// Each cause that the sources name: in the functions that map errors to causes, and where a token is refused.
    #[test]
    fn cause_in_the_sources_is_in_the_list() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut all = String::new();
        sources(&root.join("src"), &mut all);
        sources(&root.join("crates/latchkey-verifier/src"), &mut all);
        let functions = found(r"(?s)const fn cause\((.*?)\n    \}\n", &all)
            .into_iter()
            .collect::<String>();
        let mut named = found(r#"=> "([a-z_]+)""#, &functions);
        named.extend(found(r#"blacklisted\("([a-z_]+)"\)"#, &all));
        named.extend(found(r#"TokenDetail::[A-Za-z]+, "([a-z_]+)"\)"#, &all));
        named.extend(RevokedReason::ALL.map(RevokedReason::as_str));
        let listed: BTreeSet<&str> = causes("/api/token").collect();
        assert_eq!(
            named, listed,
            "the causes that occur, and those that are listed"
        );
    }

    #[test]
    fn status_of_an_error_is_in_the_list() {
        let listed: BTreeSet<u16> = statuses("/api/token").collect();
        for name in found(r"StatusCode::([A-Z_]+)", include_str!("error.rs")) {
            let reason = name.replace('_', " ");
            let status = (100..600)
                .filter_map(|code| StatusCode::from_u16(code).ok())
                .find(|status| {
                    status
                        .canonical_reason()
                        .is_some_and(|text| text.to_uppercase().replace('-', " ") == reason)
                });
            let status = status.unwrap_or_else(|| panic!("{name} is no status"));
            assert!(
                listed.contains(&status.as_u16()),
                "{status} is not in the list"
            );
        }
    }
}
