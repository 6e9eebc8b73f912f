//! What the HTTP layer counts: requests, their latency, and refusals by cause.

use std::time::Duration;

use actix_web::http::StatusCode;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Seconds, from a JWKS out of memory to a request that waited for a database.
const BUCKETS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

const ROUTES: [&str; 16] = [
    "/.well-known/jwks.json",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/api/auth/logout",
    "/api/auth/logout/all",
    "/api/auth/sessions",
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

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Answered {
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Took {
    route: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Refused {
    route: &'static str,
    cause: &'static str,
}

/// Counters and histograms. Cloning shares them.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    durations: Family<Took, Histogram, fn() -> Histogram>,
    refusals: Family<Refused, Counter>,
    requests: Family<Answered, Counter>,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        Self {
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            refusals: Family::default(),
            requests: Family::default(),
        }
    }
}

impl HttpMetrics {
    /// Names them in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("requests", "Requests, by route and status", self.requests.clone());
        let help = "Time to answer, by route and outcome: ok, refused (4xx), failed (5xx)";
        registry.register_with_unit("request_duration", help, Unit::Seconds, self.durations.clone());
        let help = "Requests that were refused or failed, by route and precise cause";
        registry.register("refusals", help, self.refusals.clone());
    }

    pub(super) fn count(&self, route: &'static str, status: StatusCode, cause: Option<&'static str>, took: Duration) {
        let outcome = match status.as_u16() {
            500.. => "failed",
            400..=499 => "refused",
            _ => "ok",
        };
        self.requests.get_or_create(&Answered { route, status: status.as_u16() }).inc();
        self.durations.get_or_create(&Took { route, outcome }).observe(took.as_secs_f64());
        if let Some(cause) = cause {
            self.refusals.get_or_create(&Refused { route, cause }).inc();
        }
    }
}

/// The route of a path, or `other`: what anybody can make up is neither a label nor a line in the log.
pub(super) fn route(path: &str) -> &'static str {
    let path = path.strip_suffix('/').unwrap_or(path);
    if let Some(route) = ROUTES.into_iter().find(|route| *route == path) {
        return route;
    }
    match path {
        path if path.starts_with("/api/auth/sessions/") => "/api/auth/sessions/{id}",
        path if path.starts_with("/docs/") => "/docs",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::route;

    #[test]
    fn a_route_is_a_label_with_and_without_its_slash_and_nothing_else_is() {
        assert_eq!((route("/api/token/"), route("/api/token")), ("/api/token", "/api/token"));
        assert_eq!(route("/api/auth/sessions/1b2c/"), "/api/auth/sessions/{id}");
        assert_eq!((route("/"), route("/api/token/x"), route("/api/token//")), ("other", "other", "other"));
    }
}
