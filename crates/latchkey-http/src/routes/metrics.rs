//! `/metrics`: metrics in the `OpenMetrics` format, or in the older text format for clients that
//! accept only that.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{ACCEPT, CONTENT_TYPE},
    },
    web::Data,
};
use prometheus_client::{encoding::text::encode, registry::Registry};

use crate::{
    endpoint::{Endpoint, route},
    error::HttpError,
};
use latchkey_service::Error;

/// Path on the main address and on the metrics address.
pub(crate) const PATH: &str = "/metrics";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        route(Method::GET, PATH)
            .enabled(|settings| settings.metrics)
            .document::<__path_metrics>()
            .handle(metrics),
    ]
}

#[utoipa::path(
    get, path = "/metrics", tag = "operation",
    summary = "Get metrics for Prometheus",
    description = "Served on the address of `LATCHKEY_METRICS_BIND`. On the main address, it is a 404 unless \
         `LATCHKEY_METRICS_BIND=main`.",
    responses(
        (status = 200, description = "`OpenMetrics` text.", body = String,
            content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    )
)]
async fn metrics(
    request: HttpRequest,
    registry: Data<Registry>,
) -> Result<HttpResponse, HttpError> {
    let mut text = String::new();
    encode(&mut text, &registry)
        .map_err(|_| Error::Internal("metrics cannot be encoded".to_owned()))?;
    let accept = request
        .headers()
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .unwrap_or_default();
    let (content_type, text) =
        if accept.contains("text/plain") && !accept.contains("application/openmetrics-text") {
            ("text/plain; version=0.0.4; charset=utf-8", plain(&text))
        } else {
            (
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                text,
            )
        };
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, content_type))
        .body(text))
}

/// Converts to version 0.0.4 of the text format, which has no units and no end marker. Its
/// metadata of a counter use the name of the samples, with `_total`.
fn plain(open_metrics: &str) -> String {
    let mut plain = String::with_capacity(open_metrics.len());
    let mut lines = open_metrics.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("# UNIT ") || line.starts_with("# EOF") {
            continue;
        }
        let counts = [Some(line), lines.peek().copied()]
            .into_iter()
            .flatten()
            .any(is_type_of_counter);
        // `# HELP name text` or `# TYPE name counter`.
        let name = line
            .match_indices(' ')
            .nth(2)
            .filter(|_| counts && line.starts_with("# "))
            .map(|(end, _)| end);
        let (begin, end) = line.split_at(name.unwrap_or(line.len()));
        plain.push_str(begin);
        plain.push_str(if name.is_some() { "_total" } else { "" });
        plain.push_str(end);
    }
    plain
}

fn is_type_of_counter(line: &str) -> bool {
    line.starts_with("# TYPE ") && line.ends_with(" counter\n")
}
