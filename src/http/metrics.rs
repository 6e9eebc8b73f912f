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
    /// Those of nearly all answers, by route: found once, not looked for each time.
    good: Arc<[OnceLock<(Answers, ShardedHistogram)>]>,
    refusals: Family<RefusalLabels, Counter>,
    requests: Family<RequestLabels, Answers>,
}

type Answers = Counter<u64, ShardedCounter>;

impl Default for HttpMetrics {
    fn default() -> Self {
        Self {
            durations: Family::default(),
            good: RouteLabel::all().map(|_| OnceLock::new()).collect(),
            refusals: Family::default(),
            requests: Family::default(),
        }
    }
}

impl HttpMetrics {
    /// Names them in `registry`, each series at 0.
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
        route: RouteLabel,
        status: StatusCode,
        cause: Option<&'static str>,
        took: Duration,
    ) {
        if let (StatusCode::OK, None, Some(good)) = (status, cause, self.good.get(route.index())) {
            let (requests, duration) = good.get_or_init(|| {
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
