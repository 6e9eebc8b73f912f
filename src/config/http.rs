//! Addresses, connections, and limits of requests.

use std::{net::SocketAddr, thread, time::Duration};

use clap::{ArgAction, Args, ValueEnum};

use super::value;
use latchkey_domain::network;

/// Address that serves `/metrics`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MetricsBind {
    /// Main address, together with the API.
    Main,
    /// Separate address.
    Own(SocketAddr),
}

/// Settings of the HTTP server.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
pub struct HttpConfig {
    /// Address and port to listen on
    #[arg(long, env = "LATCHKEY_BIND", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8000", value_parser = address)]
    pub bind: SocketAddr,

    /// Address and port that serve only /metrics, or main to serve it on the main address, where
    /// every client of the API can read it. Without this setting, /metrics is off
    #[arg(long, env = "LATCHKEY_METRICS_BIND", value_name = "ADDRESS:PORT", value_parser = metrics_bind)]
    pub metrics_bind: Option<MetricsBind>,

    /// Networks of trusted proxies, separated by commas, such as 10.0.0.0/8,2001:db8::/32. Requests
    /// from them carry the client's address in LATCHKEY_FORWARDED_HEADER; any other peer is the
    /// client itself
    #[arg(long, env = "LATCHKEY_TRUSTED_PROXIES", value_name = "NETWORKS", value_parser = network::TrustedProxies::parse)]
    pub trusted_proxies: Option<network::TrustedProxies>,

    /// Header in which trusted proxies pass on the client's address. The other one is ignored
    #[arg(
        long,
        env = "LATCHKEY_FORWARDED_HEADER",
        value_name = "NAME",
        default_value = "x-forwarded-for"
    )]
    pub forwarded_header: ForwardedHeader,

    /// Threads that serve requests; 0 means one for each core
    #[arg(long, env = "LATCHKEY_WORKERS", value_name = "NUMBER", default_value = "0", value_parser = value::number::<u16>(0..=1024))]
    pub workers: u16,

    /// Maximum number of connections for each worker. The limit of open files, which is raised to
    /// the hard limit at the start, may allow fewer. If all are in use, idle connections are closed
    /// for new ones
    #[arg(long, env = "LATCHKEY_MAX_CONNECTIONS", value_name = "NUMBER", default_value = "10000", value_parser = value::number::<u32>(1..=1_000_000))]
    pub max_connections: u32,

    /// Maximum number of connections from one source: an IPv4 address or an IPv6 /64 network. A
    /// source on this machine or in a private network may have seven eighths of all connections,
    /// and a trusted proxy all of them
    #[arg(long, env = "LATCHKEY_MAX_CONNECTIONS_PER_SOURCE", value_name = "NUMBER", default_value = "256", value_parser = value::number::<u32>(1..=1_000_000))]
    pub max_connections_per_source: u32,

    /// Maximum size of a request body in bytes
    #[arg(long, env = "LATCHKEY_BODY_LIMIT", value_name = "BYTES", default_value = "16384", value_parser = value::number::<u32>(1024..=1_048_576))]
    pub body_limit: u32,

    /// Time limit for receiving the header of a request
    #[arg(long, env = "LATCHKEY_HEADER_TIMEOUT", value_name = "DURATION", default_value = "5s", value_parser = value::positive_duration)]
    pub header_timeout: Duration,

    /// Time limit for receiving the body of a request
    #[arg(long, env = "LATCHKEY_BODY_TIMEOUT", value_name = "DURATION", default_value = "10s", value_parser = value::positive_duration)]
    pub body_timeout: Duration,

    /// Delay between a signal to stop and the stop: requests are accepted and /health/ready is 503,
    /// so that load balancers take the instance out. A second signal ends the delay
    #[arg(long, env = "LATCHKEY_SHUTDOWN_DELAY", value_name = "DURATION", default_value = "0s", value_parser = value::duration)]
    pub shutdown_delay: Duration,

    /// Time that requests may take to finish after the shutdown delay
    #[arg(long, env = "LATCHKEY_SHUTDOWN_TIMEOUT", value_name = "DURATION", default_value = "10s", value_parser = value::whole_seconds)]
    pub shutdown_timeout: Duration,

    /// Time for which the start waits for an unreachable database
    #[arg(long, env = "LATCHKEY_STARTUP_TIMEOUT", value_name = "DURATION", default_value = "30s", value_parser = value::duration)]
    pub startup_timeout: Duration,

    /// Time for which clients may cache the key set (Cache-Control of the JWKS)
    #[arg(long, env = "LATCHKEY_JWKS_MAX_AGE", value_name = "DURATION", default_value = "5m", value_parser = value::duration)]
    pub jwks_max_age: Duration,

    /// Serve the OpenAPI document at /openapi.json, and Swagger UI at /docs/
    #[arg(long, env = "LATCHKEY_DOCS", value_name = "BOOL", default_value = "true", action = ArgAction::Set)]
    pub docs: bool,
}

/// Header in which trusted proxies pass on the client's address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum ForwardedHeader {
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For`.
    XForwardedFor,
}

impl From<ForwardedHeader> for network::ForwardedHeader {
    fn from(header: ForwardedHeader) -> Self {
        match header {
            ForwardedHeader::Forwarded => Self::Forwarded,
            ForwardedHeader::XForwardedFor => Self::XForwardedFor,
        }
    }
}

/// Parses an address and a port.
///
/// # Errors
/// The expected format.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "expected an address and a port, such as 127.0.0.1:8000".to_owned())
}

fn metrics_bind(text: &str) -> Result<MetricsBind, String> {
    match text {
        "main" => Ok(MetricsBind::Main),
        text => address(text).map(MetricsBind::Own).map_err(|_| {
            "expected an address and a port, such as 127.0.0.1:9464, or main".to_owned()
        }),
    }
}

impl HttpConfig {
    /// Separate address of `/metrics`, if it has one.
    #[must_use]
    pub const fn own_metrics_address(&self) -> Option<SocketAddr> {
        match self.metrics_bind {
            Some(MetricsBind::Own(address)) => Some(address),
            Some(MetricsBind::Main) | None => None,
        }
    }

    /// True if `/metrics` is served on the main address.
    #[must_use]
    pub const fn metrics_on_main_address(&self) -> bool {
        matches!(self.metrics_bind, Some(MetricsBind::Main))
    }

    /// Number of workers on this machine.
    #[must_use]
    pub fn worker_threads(&self) -> usize {
        match self.workers {
            0 => thread::available_parallelism().map_or(1, usize::from),
            workers => usize::from(workers),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::HttpConfig;

    #[test]
    fn metrics_without_main_are_not_on_the_main_address() {
        let shown = |flags: &[&str]| {
            let command = HttpConfig::augment_args(Command::new("test").no_binary_name(true));
            let config = HttpConfig::from_arg_matches(&command.get_matches_from(flags)).unwrap();
            (
                config.metrics_on_main_address(),
                config.own_metrics_address().is_some(),
            )
        };
        for bind in [
            "--bind=127.0.0.2:80",
            "--bind=[::1]:80",
            "--bind=0.0.0.0:80",
        ] {
            assert_eq!(shown(&[bind]), (false, false), "{bind}");
            assert_eq!(
                shown(&[bind, "--metrics-bind=main"]),
                (true, false),
                "{bind}"
            );
            assert_eq!(
                shown(&[bind, "--metrics-bind=127.0.0.1:9464"]),
                (false, true),
                "{bind}"
            );
        }
    }
}
