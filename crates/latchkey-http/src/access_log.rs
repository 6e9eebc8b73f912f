//! Access log. Refusals and failures are sampled, so that clients cannot fill the log.

use std::sync::LazyLock;

use actix_web::http::{StatusCode, header::HeaderValue};

use super::{error::HttpError, labels::RouteLabel};
use latchkey_service::sampled::SampledCauses;

static CAUSES: LazyLock<SampledCauses> = LazyLock::new(SampledCauses::default);

/// Logs a response.
///
/// Failures of the service have the level error, refusals info and other responses debug. Failures
/// and refusals are logged once a second for each cause, and the metrics count all of them. A line
/// contains no token and no body. An unknown path or method may be a misplaced token, so only known
/// ones are logged.
pub(super) fn log(
    method: &str,
    route: RouteLabel,
    id: &HeaderValue,
    status: StatusCode,
    error: Option<&HttpError>,
) {
    let (path, status, id) = (route.text(), status.as_u16(), || {
        id.to_str().unwrap_or_default()
    });
    let Some(error) = error else {
        tracing::debug!(method, path, status, request = id());
        return;
    };
    let cause = error.cause();
    if let Some(internal) = error.internal() {
        if let Some(suppressed) = CAUSES.due(cause) {
            tracing::error!(method, path, status, request = id(), cause, suppressed, %internal);
        }
    } else if tracing::enabled!(tracing::Level::INFO)
        && let Some(suppressed) = CAUSES.due(cause)
    {
        tracing::info!(method, path, status, request = id(), cause, suppressed);
    }
}
