//! What the HTTP layer counts: requests, their latency, and refusals by cause.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use actix_web::http::StatusCode;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::{Registry, Unit},
};

use super::{
    labels::{OUTCOMES, ROUTES, causes, statuses},
    sharded_metrics::{ShardedCounter, ShardedHistogram},
};

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RequestLabels {
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct DurationLabels {
    route: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RefusalLabels {
    route: &'static str,
    cause: &'static str,
}

/// One of the routes that there are, or none of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Route(usize);

/// Counters and histograms. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct HttpMetrics {
    durations: Family<DurationLabels, ShardedHistogram>,
    /// Those of nearly all answers, by route: found once, not looked for each time.
    good: Arc<[OnceLock<(Answers, ShardedHistogram)>; ROUTES.len()]>,
    refusals: Family<RefusalLabels, Counter>,
    requests: Family<RequestLabels, Answers>,
}

type Answers = Counter<u64, ShardedCounter>;

impl HttpMetrics {
    /// Names them in `registry`, each series at 0.
    pub fn register(&self, registry: &mut Registry) {
        for route in ROUTES {
            for status in statuses(route) {
                let _ = self
                    .requests
                    .get_or_create(&RequestLabels { route, status });
            }
            for outcome in OUTCOMES {
                let _ = self
                    .durations
                    .get_or_create(&DurationLabels { route, outcome });
            }
            for cause in causes(route) {
                let _ = self.refusals.get_or_create(&RefusalLabels { route, cause });
            }
        }
        registry.register(
            "requests",
            "Requests, by route and status",
            self.requests.clone(),
        );
        let help = "Time to answer, by route and outcome: ok, refused (4xx), failed (5xx)";
        registry.register_with_unit(
            "request_duration",
            help,
            Unit::Seconds,
            self.durations.clone(),
        );
        let help = "Requests that were refused or failed, by route and precise cause";
        registry.register("refusals", help, self.refusals.clone());
    }

    pub(super) fn count(
        &self,
        route: Route,
        status: StatusCode,
        cause: Option<&'static str>,
        took: Duration,
    ) {
        if let (StatusCode::OK, None, Some(good)) = (status, cause, self.good.get(route.0)) {
            let (requests, duration) = good.get_or_init(|| {
                let (route, outcome) = (route.label(), "ok");
                let requests = self.requests.get_or_create_owned(&RequestLabels {
                    route,
                    status: StatusCode::OK.as_u16(),
                });
                (
                    requests,
                    self.durations
                        .get_or_create_owned(&DurationLabels { route, outcome }),
                )
            });
            requests.inc();
            duration.observe(took);
            return;
        }
        let route = route.label();
        let [ok, refused, failed] = OUTCOMES;
        let outcome = match status.as_u16() {
            500.. => failed,
            400..=499 => refused,
            _ => ok,
        };
        self.requests
            .get_or_create(&RequestLabels {
                route,
                status: status.as_u16(),
            })
            .inc();
        self.durations
            .get_or_create(&DurationLabels { route, outcome })
            .observe(took);
        if let Some(cause) = cause {
            self.refusals
                .get_or_create(&RefusalLabels { route, cause })
                .inc();
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
        Self(
            ROUTES
                .iter()
                .position(|known| *known == label)
                .unwrap_or_default(),
        )
    }

    /// Returns true for documents that pages of any origin may read: keys and discovery.
    pub(super) fn is_open(self) -> bool {
        self.label().starts_with("/.well-known/")
    }

    /// Its name in metrics and in the log.
    pub(super) fn label(self) -> &'static str {
        ROUTES.get(self.0).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Route;

    #[test]
    fn a_route_is_a_label_with_and_without_its_slash_and_nothing_else_is() {
        let route = |path| Route::of(path).label();
        assert_eq!(
            (route("/api/token/"), route("/api/token")),
            ("/api/token", "/api/token")
        );
        assert_eq!(route("/api/auth/sessions/1b2c/"), "/api/auth/sessions/{id}");
        assert_eq!(
            (route("/"), route("/api/token/x"), route("/api/token//")),
            ("other", "other", "other")
        );
    }
}
