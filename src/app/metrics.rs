//! Registry of all metrics.

use std::{env::consts, fmt, sync::Arc, time::Duration};

use chrono::TimeDelta;
use latchkey_verifier::Kind;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::telemetry;
use latchkey_crypto::hasher::Hasher;
use latchkey_domain::{
    keys::saturating_add,
    ports::{Blacklist, BlacklistStatus, Clock},
    time::Moment,
};
use latchkey_http::{
    connection::{ConnectionStatus, Connections},
    metrics::HttpMetrics,
};
use latchkey_service::{ActiveKeys, Metrics, sampled::suppressed_lines};
use latchkey_store::sql::SqlStore;

/// Sources of values that are read for each response.
pub(super) struct RuntimeMetrics {
    pub blacklist: Option<Arc<dyn Blacklist>>,
    pub clock: Arc<dyn Clock>,
    pub connections: Arc<Connections>,
    pub hasher: Hasher,
    pub keys: Arc<ActiveKeys>,
    /// Time for which a key signs before its automatic successor takes over. `None` means that
    /// there is none.
    pub rotation_interval: Option<TimeDelta>,
    pub sql: Arc<SqlStore>,
}

impl fmt::Debug for RuntimeMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RuntimeMetrics")
    }
}

/// Metrics of the process, under the names that all programs use.
#[derive(Debug)]
struct Process {
    started: Moment,
}

/// Returns the registry with all metrics.
pub(super) fn registry(service: &Metrics, http: &HttpMetrics, runtime: RuntimeMetrics) -> Registry {
    let mut all = Registry::default();
    all.register_collector(Box::new(Process {
        started: runtime.clock.now(),
    }));
    let registry = all.sub_registry_with_prefix("latchkey");
    service.register(registry);
    http.register(registry);
    registry.register_collector(Box::new(runtime));
    all
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let help = "Time at which the process started, in seconds since 1970.";
        let metric = encoder.encode_descriptor(
            "process_start_time_seconds",
            help,
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(seconds(self.started)).encode(metric)
    }
}

/// Converts a time to seconds since 1970.
fn seconds(moment: Moment) -> f64 {
    Duration::from_millis(u64::try_from(moment.timestamp_millis()).unwrap_or_default())
        .as_secs_f64()
}

impl Collector for RuntimeMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        // The help of a collector is printed as it is. The registry adds a full stop only to other
        // metrics.
        let mut gauge = |name: &str, help: &str, value: usize| {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(metric)
        };
        let (waiting, running) = self.hasher.load();
        gauge(
            "password_hashes_waiting",
            "Passwords that wait to be hashed.",
            waiting,
        )?;
        gauge(
            "password_hashes_running",
            "Passwords that are being hashed.",
            running,
        )?;
        gauge(
            "key_ring_keys",
            "Active signing keys of both kinds.",
            self.keys.current().ring.keys().count(),
        )?;
        let help = "1 if the keys in the store cannot be used, and the keys that were read before remain active.";
        gauge("key_ring_unusable", help, self.keys.is_broken().into())?;
        let age = self.keys.seconds_since_read(self.clock.now());
        let help = "Seconds since the keys in the store were last read. Keys revoked since then are still accepted.";
        gauge(
            "key_ring_read_age_seconds",
            help,
            usize::try_from(age).unwrap_or(usize::MAX),
        )?;
        let pool = self.sql.pool_status();
        gauge(
            "database_connections_open",
            "Open connections to the database.",
            pool.open,
        )?;
        gauge(
            "database_connections_idle",
            "Idle connections to the database.",
            pool.idle,
        )?;
        gauge(
            "database_connections_limit",
            "Maximum number of connections to the database.",
            pool.limit,
        )?;
        gauge(
            "database_requests_waiting",
            "Requests that wait for a connection to the database.",
            pool.waiting,
        )?;
        let connections = self.connections.status();
        gauge(
            "connections_open",
            "Open connections of clients.",
            connections.open,
        )?;
        gauge(
            "connections_limit",
            "Maximum number of connections of clients.",
            connections.limit,
        )?;
        encode_counters(&mut encoder, connection_counters(connections))?;
        encode_build(&mut encoder)?;
        self.encode_signing_keys(&mut encoder)?;
        let lines = [
            (
                "log_lines_dropped",
                "Log lines that were lost because the reader of the log did not keep up.",
                telemetry::dropped_lines(),
            ),
            (
                "log_lines_suppressed",
                "Log lines that were not written because they repeat another line.",
                suppressed_lines(),
            ),
        ];
        encode_counters(&mut encoder, lines)?;
        match &self.blacklist {
            Some(blacklist) => encode_blacklist(&mut encoder, blacklist.status()),
            None => Ok(()),
        }
    }
}

impl RuntimeMetrics {
    fn encode_signing_keys(&self, encoder: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
        let (now, current) = (self.clock.now(), self.keys.current());
        let periods = [Kind::Access, Kind::Refresh]
            .into_iter()
            .filter_map(|kind| Some((kind, current.ring.signing_period(kind, now)?)))
            .map(|(kind, (since, successor))| {
                let planned = || {
                    self.rotation_interval
                        .map(|interval| saturating_add(since, interval))
                };
                (
                    [("token", kind.token_type())],
                    since,
                    successor.or_else(planned),
                )
            });
        let help = "Age of the key that signs tokens of this type, in seconds.";
        let mut ages =
            encoder.encode_descriptor("signing_key_age_seconds", help, None, MetricType::Gauge)?;
        for (label, since, _) in periods.clone() {
            ConstGauge::new((now - since).num_seconds().max(0))
                .encode(ages.encode_family(&label)?)?;
        }
        let help = "Time from which the next key signs tokens of this type, in seconds since 1970.";
        let name = "signing_key_next_rotation_time_seconds";
        let mut rotations = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (label, _, next) in periods {
            if let Some(next) = next {
                ConstGauge::new(next.timestamp()).encode(rotations.encode_family(&label)?)?;
            }
        }
        Ok(())
    }
}

/// Encodes a constant with labels that describe the program.
fn encode_build(encoder: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
    let help = "Always 1; the labels name the version and the platform.";
    let mut metric = encoder.encode_descriptor("build_info", help, None, MetricType::Gauge)?;
    let labels = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("os", consts::OS),
        ("arch", consts::ARCH),
    ];
    ConstGauge::new(1_i64).encode(metric.encode_family(&labels)?)
}

/// Name, help text and value of a counter.
type NamedCount = (&'static str, &'static str, u64);

fn encode_counters<const N: usize>(
    encoder: &mut DescriptorEncoder,
    counts: [NamedCount; N],
) -> Result<(), fmt::Error> {
    for (name, help, count) in counts {
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(count).encode(metric)?;
    }
    Ok(())
}

const fn connection_counters(status: ConnectionStatus) -> [NamedCount; 3] {
    [
        (
            "connections_evicted",
            "Idle connections that were closed for new ones.",
            status.evicted,
        ),
        (
            "connections_refused",
            "Connections that were refused because all open ones were busy.",
            status.refused,
        ),
        (
            "connections_timed_out",
            "Connections that were closed because the client was too slow.",
            status.timed_out,
        ),
    ]
}

fn encode_blacklist(
    encoder: &mut DescriptorEncoder,
    status: BlacklistStatus,
) -> Result<(), fmt::Error> {
    let states = [
        (
            "blacklist_reachable",
            "1 if Redis answers, otherwise 0.",
            status.reachable,
        ),
        (
            "blacklist_trusted",
            "1 if Redis is trusted with checks of access tokens, 0 if the database answers them.",
            status.trusted,
        ),
    ];
    for (name, help, state) in states {
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(state)).encode(metric)?;
    }
    let counts = [
        (
            "blacklist_connection_failures",
            "Failed connections to Redis, and changes of its servers.",
            status.failures,
        ),
        (
            "blacklist_rebuilds",
            "Rebuilds of the blacklist from the database.",
            status.rebuilds,
        ),
        (
            "blacklist_rebuild_failures",
            "Failed rebuilds of the blacklist.",
            status.failed_rebuilds,
        ),
    ];
    encode_counters(encoder, counts)
}
