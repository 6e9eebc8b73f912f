//! Shared state of the handlers.

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
use latchkey_domain::network::{ForwardedHeader, TrustedProxies};
use latchkey_service::Services;

/// Settings of the HTTP layer.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Accepted schemes of `Authorization`. The first one is named in challenges.
    pub auth_header_types: Vec<String>,
    /// Maximum size of a request body, in bytes.
    pub body_limit: usize,
    /// Timeout for receiving a body.
    pub body_timeout: Duration,
    /// True if the OpenAPI document and Swagger UI are served.
    pub docs: bool,
    /// Header in which trusted proxies send the client's address.
    pub forwarded_header: ForwardedHeader,
    /// Timeout for receiving the head of a request.
    pub header_timeout: Duration,
    /// Issuer: the claim `iss`.
    pub issuer: String,
    /// `Cache-Control` of the key set and of discovery.
    pub jwks_caching: HeaderValue,
    /// Delay between a signal to stop and the stop.
    pub shutdown_delay: Duration,
    /// Timeout of running requests after the delay.
    pub shutdown_timeout: Duration,
    /// Proxies with a trusted header.
    pub trusted_proxies: TrustedProxies,
    /// Number of workers.
    pub workers: usize,
    /// True if `/metrics` is also served on the main address.
    pub metrics: bool,
}

/// State of a worker.
#[derive(Clone)]
pub struct State {
    /// Use cases.
    pub services: Services,
    /// Creates the use cases of a worker. It is called on the worker's thread, because the worker's
    /// runtime drives their connections.
    pub new_worker: Arc<dyn Fn() -> Services + Send + Sync>,
    /// Open connections.
    pub connections: Arc<Connections>,
    /// Metrics of the HTTP layer.
    pub metrics: HttpMetrics,
    /// Registry of all metrics.
    pub registry: Arc<Registry>,
    /// Settings.
    pub settings: HttpSettings,
    /// Flag of a stop in progress.
    pub stopping: Stopping,
}

/// Flag that is true after a signal to stop. Requests are still served, and each response closes
/// its connection.
#[derive(Clone, Debug, Default)]
pub struct Stopping(Arc<AtomicBool>);

impl Stopping {
    /// Sets the flag.
    pub fn begin(&self) {
        self.0.store(true, Relaxed);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.0.load(Relaxed)
    }
}

impl State {
    /// Returns the state of one worker, with use cases of its own.
    pub(super) fn for_worker(&self) -> Self {
        let mut own = self.clone();
        own.services = (self.new_worker)();
        own
    }
}

/// Returns the `Cache-Control` header of public documents with this lifetime.
#[must_use]
pub fn caching(max_age: Duration) -> HeaderValue {
    let text = format!("public, max-age={}", max_age.as_secs());
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("no-store"))
}
