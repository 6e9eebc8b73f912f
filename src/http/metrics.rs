//! What the HTTP layer counts: requests, their latency, and refusals by cause.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use actix_web::http::StatusCode;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Seconds, from a JWKS out of memory to a request that waited for a database.
const BUCKETS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Routes as labels: what anybody can make up is neither a label nor a line in the log.
const LABELS: [&str; 18] = [
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

/// One of the routes that there are, or none of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Route(usize);

/// Counters and histograms. Cloning shares them.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    durations: Family<Took, Histogram, fn() -> Histogram>,
    /// Those of nearly all answers, by route: found once, not looked for each time.
    good: Arc<[OnceLock<(Counter, Histogram)>; LABELS.len()]>,
    refusals: Family<Refused, Counter>,
    requests: Family<Answered, Counter>,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        Self {
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            good: Arc::default(),
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

    pub(super) fn count(&self, route: Route, status: StatusCode, cause: Option<&'static str>, took: Duration) {
        if let (StatusCode::OK, None, Some(good)) = (status, cause, self.good.get(route.0)) {
            let (requests, duration) = good.get_or_init(|| {
                let (route, outcome) = (route.label(), "ok");
                let requests = self.requests.get_or_create_owned(&Answered { route, status: StatusCode::OK.as_u16() });
                (requests, self.durations.get_or_create_owned(&Took { route, outcome }))
            });
            requests.inc();
            duration.observe(took.as_secs_f64());
            return;
        }
        let route = route.label();
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

impl Route {
    /// The one of a path.
    pub(super) fn of(path: &str) -> Self {
        let path = path.strip_suffix('/').unwrap_or(path);
        let label = match path {
            path if path.starts_with("/api/auth/sessions/") => "/api/auth/sessions/{id}",
            path if path.starts_with("/docs/") => "/docs",
            path => path,
        };
        Self(LABELS.iter().position(|known| *known == label).unwrap_or_default())
    }

    /// Its name in metrics and in the log.
    pub(super) fn label(self) -> &'static str {
        LABELS.get(self.0).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Route;

    #[test]
    fn a_route_is_a_label_with_and_without_its_slash_and_nothing_else_is() {
        let route = |path| Route::of(path).label();
        assert_eq!((route("/api/token/"), route("/api/token")), ("/api/token", "/api/token"));
        assert_eq!(route("/api/auth/sessions/1b2c/"), "/api/auth/sessions/{id}");
        assert_eq!((route("/"), route("/api/token/x"), route("/api/token//")), ("other", "other", "other"));
    }
}
