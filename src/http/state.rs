//! What the handlers share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use actix_web::http::header::HeaderValue;
use prometheus_client::registry::Registry;

use super::{connection::Connections, metrics::HttpMetrics};
use crate::{
    domain::network::{ForwardedHeader, TrustedProxies},
    service::Auth,
};

/// Settings of the HTTP layer.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Schemes of `Authorization` that are taken; the first is named in challenges.
    pub auth_header_types: Vec<String>,
    /// Bytes of a request body at the most.
    pub body_limit: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// Whether the OpenAPI document and the page that shows it are answered.
    pub docs: bool,
    /// The header in which trusted proxies pass on the client's address.
    pub forwarded_header: ForwardedHeader,
    /// How long the header of a request may take to arrive.
    pub header_timeout: Duration,
    /// `iss`.
    pub issuer: String,
    /// How long the key set may be cached, as the header says it.
    pub jwks_caching: HeaderValue,
    /// Delay between a signal to stop and the stop.
    pub shutdown_delay: Duration,
    /// Time that requests may take to finish after the delay.
    pub shutdown_timeout: Duration,
    /// Proxies whose header is trusted.
    pub trusted_proxies: TrustedProxies,
    /// Threads that serve requests.
    pub workers: usize,
    /// Whether `/metrics` is answered here, too.
    pub metrics: bool,
}

/// Each thread has one of its own, over the same use cases.
#[derive(Clone)]
pub struct State {
    /// The use cases.
    pub auth: Arc<Auth>,
    /// Open connections.
    pub connections: Arc<Connections>,
    /// What this layer counts.
    pub metrics: HttpMetrics,
    /// All that is counted.
    pub registry: Arc<Registry>,
    /// Settings.
    pub settings: HttpSettings,
    /// The beginning of the end.
    pub stopping: Stopping,
}

/// A flag, true after a signal to stop. Requests are still answered, and each response ends its connection.
#[derive(Clone, Debug, Default)]
pub struct Stopping(Arc<AtomicBool>);

impl Stopping {
    /// Makes it true.
    pub fn begin(&self) {
        self.0.store(true, Relaxed);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.0.load(Relaxed)
    }
}

impl State {
    /// For one thread. What is in every answer of it shares no count of references with other threads: that would go
    /// to and fro between the cores.
    pub(super) fn for_worker(&self) -> Self {
        let mut own = self.clone();
        own.settings.jwks_caching = deep_clone(&self.settings.jwks_caching);
        own
    }
}

/// The same value in memory of its own.
pub(super) fn deep_clone(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
}

/// How long the key set may be kept, as the header says it.
#[must_use]
pub fn caching(max_age: Duration) -> HeaderValue {
    let text = format!("public, max-age={}", max_age.as_secs());
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("no-store"))
}
