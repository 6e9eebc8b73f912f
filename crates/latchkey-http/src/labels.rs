//! Label values of metrics. All possible values are listed, so that each series is exposed at 0
//! from the start. Otherwise, an alert on an increase would miss the first event of a series.

use std::sync::LazyLock;

use super::router::endpoints;

/// Label of a route. The label of an unknown path is `other`, so a client can neither create labels
/// nor put text into the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct RouteLabel(usize);

/// Labels by index, and the paths of each label.
struct Labels {
    texts: Vec<&'static str>,
    paths: Vec<Labelled>,
}

struct Labelled {
    /// Path, or its part before the first parameter.
    path: &'static str,
    is_prefix: bool,
    any_origin: bool,
    label: RouteLabel,
}

static LABELS: LazyLock<Labels> = LazyLock::new(|| {
    let mut labels = Labels {
        texts: vec!["other"],
        paths: Vec::new(),
    };
    for endpoint in endpoints() {
        let known = labels.texts.iter().position(|text| *text == endpoint.label);
        let index = known.unwrap_or(labels.texts.len());
        if known.is_none() {
            labels.texts.push(endpoint.label);
        }
        let (path, is_prefix) = match endpoint.path.split_once('{') {
            Some((prefix, _)) => (prefix, true),
            None => (endpoint.path, false),
        };
        labels.paths.push(Labelled {
            path,
            is_prefix,
            any_origin: endpoint.any_origin,
            label: RouteLabel(index),
        });
    }
    labels
});

impl RouteLabel {
    /// Label of unknown paths.
    pub(super) const OTHER: Self = Self(0);

    /// Returns the label of a path.
    pub(super) fn of(path: &str) -> Self {
        let path = path.strip_suffix('/').unwrap_or(path);
        LABELS
            .paths
            .iter()
            .find(|known| {
                if known.is_prefix {
                    path.starts_with(known.path)
                } else {
                    path == known.path
                }
            })
            .map_or(Self::OTHER, |known| known.label)
    }

    /// Returns all labels.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..LABELS.texts.len()).map(Self)
    }

    /// Returns the text in metrics and in the log.
    pub(super) fn text(self) -> &'static str {
        LABELS.texts.get(self.0).copied().unwrap_or_default()
    }

    /// Returns the position among [`Self::all`].
    pub(super) const fn index(self) -> usize {
        self.0
    }

    /// Returns true for documents that pages of any origin may read: keys and discovery.
    pub(super) fn is_any_origin(self) -> bool {
        LABELS
            .paths
            .iter()
            .any(|known| known.label == self && known.any_origin)
    }
}

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

/// Returns the possible statuses of a route.
pub(super) fn statuses(route: &str) -> impl Iterator<Item = u16> {
    let more: &[u16] = if is_api(route) { &API_STATUSES } else { &[] };
    STATUSES.iter().chain(more).copied()
}

/// Returns the possible causes of refusals and failures of a route.
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

    use super::{RouteLabel, causes, statuses};
    use latchkey_domain::session::RevokedReason;

    #[test]
    fn path_with_and_without_final_slash_has_one_label() {
        let label = |path| RouteLabel::of(path).text();
        assert_eq!(
            (label("/api/token/"), label("/api/token")),
            ("/api/token", "/api/token")
        );
        assert_eq!(label("/api/auth/sessions/1b2c/"), "/api/auth/sessions/{id}");
        assert_eq!(
            (label("/docs"), label("/docs/"), label("/docs/index.css")),
            ("/docs", "/docs", "/docs")
        );
        assert_eq!(
            (label("/"), label("/api/token/x"), label("/api/token//")),
            ("other", "other", "other")
        );
    }

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

    /// Collects the causes from the functions that map errors to causes, and from refusals of
    /// tokens.
    #[test]
    fn listed_causes_are_those_in_the_sources() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut all = String::new();
        for layer in ["domain", "http", "service", "verifier"] {
            sources(&crates.join(format!("latchkey-{layer}/src")), &mut all);
        }
        let functions = found(r"(?s)const fn cause\((.*?)\n    \}\n", &all)
            .into_iter()
            .collect::<String>();
        let mut named = found(r#"=> "([a-z_]+)""#, &functions);
        named.extend(found(r#"blacklisted\("([a-z_]+)"\)"#, &all));
        named.extend(found(r#"TokenDetail::[A-Za-z]+, "([a-z_]+)"\)"#, &all));
        named.extend(RevokedReason::ALL.map(RevokedReason::as_str));
        let listed: BTreeSet<&str> = causes("/api/token").collect();
        assert_eq!(named, listed, "causes in the sources, and listed causes");
    }

    #[test]
    fn status_of_each_error_is_listed() {
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
            let status = status.unwrap_or_else(|| panic!("{name} is not a status"));
            assert!(listed.contains(&status.as_u16()), "{status} is not listed");
        }
    }
}
