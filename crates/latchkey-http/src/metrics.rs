//! Metrics of the HTTP layer: requests, their latency, and refusals by cause.

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
    labels::{OUTCOMES, RouteLabel, causes, statuses},
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

/// Counters and histograms. Cloning shares them.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    durations: Family<DurationLabels, ShardedHistogram>,
    /// Metrics of responses with status 200, by route. They are cached, so that most responses need
    /// no lookup in the families.
    successes: Arc<[OnceLock<(ResponseCounter, ShardedHistogram)>]>,
    refusals: Family<RefusalLabels, Counter>,
    requests: Family<RequestLabels, ResponseCounter>,
}

type ResponseCounter = Counter<u64, ShardedCounter>;

impl Default for HttpMetrics {
    fn default() -> Self {
        Self {
            durations: Family::default(),
            successes: RouteLabel::all().map(|_| OnceLock::new()).collect(),
            refusals: Family::default(),
            requests: Family::default(),
        }
    }
}

impl HttpMetrics {
    /// Registers the metrics in `registry`, with each series at 0.
    pub fn register(&self, registry: &mut Registry) {
        for route in RouteLabel::all().map(RouteLabel::text) {
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
            "http_requests",
            "Requests, by route and status",
            self.requests.clone(),
        );
        let help = "Response time, by route and outcome: ok, refused (4xx), failed (5xx)";
        registry.register_with_unit(
            "http_request_duration",
            help,
            Unit::Seconds,
            self.durations.clone(),
        );
        let help = "Refused or failed requests, by route and precise cause";
        registry.register("http_refusals", help, self.refusals.clone());
    }

    pub(super) fn count(
        &self,
        route: RouteLabel,
        status: StatusCode,
        cause: Option<&'static str>,
        took: Duration,
    ) {
        if let (StatusCode::OK, None, Some(success)) =
            (status, cause, self.successes.get(route.index()))
        {
            let (requests, duration) = success.get_or_init(|| {
                let (route, outcome) = (route.text(), "ok");
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
        let route = route.text();
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
