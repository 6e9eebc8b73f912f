//! All that is counted and measured, under one name each.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::{
    crypto::hasher::Hasher,
    http::{
        connection::{ConnectionStatus, Connections},
        metrics::HttpMetrics,
    },
    ports::{Blacklist, BlacklistStatus, Clock},
    service::{KeysInForce, Metrics, sampled::suppressed_lines},
    store::sql::SqlStore,
    telemetry,
};

/// What is asked when somebody reads.
pub(super) struct Measured {
    pub blacklist: Option<Arc<dyn Blacklist>>,
    pub clock: Arc<dyn Clock>,
    pub connections: Arc<Connections>,
    pub hasher: Hasher,
    pub keys: Arc<KeysInForce>,
    pub sql: Arc<SqlStore>,
}

impl fmt::Debug for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Measured")
    }
}

/// Everything, ready to be read.
pub(super) fn registry(service: &Metrics, http: &HttpMetrics, measured: Measured) -> Registry {
    let mut registry = Registry::with_prefix("latchkey");
    service.register(&mut registry);
    http.register(&mut registry);
    registry.register_collector(Box::new(measured));
    registry
}

impl Collector for Measured {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        // The registry ends its own sentences itself.
        let mut gauge = |name: &str, help: &str, value: usize| {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(metric)
        };
        let (waiting, running) = self.hasher.load();
        gauge("hash_queue_waiting", "Passwords that wait to be hashed.", waiting)?;
        gauge("hash_queue_running", "Passwords that are being hashed.", running)?;
        gauge("keys", "Signing keys that are in force, of both kinds.", self.keys.current().ring.keys().count())?;
        let help = "Whether the keys that lie in the store cannot be used, 1, and those before them stay in force.";
        gauge("keys_broken", help, self.keys.is_broken().into())?;
        let age = self.keys.last_look_seconds(self.clock.now());
        let help =
            "Seconds since the keys in the store were last read: keys that were revoked since then are still accepted.";
        gauge("keys_last_look_seconds", help, usize::try_from(age).unwrap_or(usize::MAX))?;
        let pool = self.sql.pool_status();
        gauge("database_connections_open", "Connections to the database.", pool.open)?;
        gauge("database_connections_idle", "Connections to the database that nobody uses.", pool.idle)?;
        gauge("database_connections_limit", "Connections to the database at the most.", pool.limit)?;
        gauge("database_waiting", "Requests that wait for a connection to the database.", pool.waiting)?;
        let connections = self.connections.status();
        gauge("connections_open", "Connections of clients.", connections.open)?;
        gauge("connections_limit", "Maximum number of connections of clients.", connections.limit)?;
        encode_counters(&mut encoder, connection_counters(connections))?;
        let lines = [
            (
                "log_lines_dropped",
                "Log lines that were lost because the reader of the log did not keep up.",
                telemetry::dropped_lines(),
            ),
            (
                "log_lines_suppressed",
                "Log lines that were not written because they repeat another.",
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

/// A name, a help text and a count.
type NamedCount = (&'static str, &'static str, u64);

fn encode_counters<const N: usize>(encoder: &mut DescriptorEncoder, counts: [NamedCount; N]) -> Result<(), fmt::Error> {
    for (name, help, count) in counts {
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(count).encode(metric)?;
    }
    Ok(())
}

const fn connection_counters(status: ConnectionStatus) -> [NamedCount; 3] {
    [
        ("connections_evicted", "Idle connections that were closed to make room for others.", status.evicted),
        ("connections_refused", "Connections that were refused because all open ones were busy.", status.refused),
        ("connections_timed_out", "Connections that were closed because the client was too slow.", status.timed_out),
    ]
}

fn encode_blacklist(encoder: &mut DescriptorEncoder, status: BlacklistStatus) -> Result<(), fmt::Error> {
    let states = [
        ("redis_reachable", "Whether Redis answers: 1 or 0.", status.reachable),
        (
            "redis_believed",
            "Whether Redis decides on access tokens, 1, or the database instead of it, 0.",
            status.believed,
        ),
    ];
    for (name, help, state) in states {
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(state)).encode(metric)?;
    }
    let counts = [
        ("redis_failures", "Commands that Redis did not answer as it should.", status.failures),
        ("blacklist_rebuilds", "How often the marks in Redis were written anew from the database.", status.rebuilds),
        ("blacklist_rebuilds_failed", "How often that failed.", status.failed_rebuilds),
    ];
    encode_counters(encoder, counts)
}
