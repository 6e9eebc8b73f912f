//! `/metrics`: what Prometheus reads (its text format, `OpenMetrics`).

use actix_web::{HttpResponse, http::header::CONTENT_TYPE, web::Data};
use prometheus_client::{encoding::text::encode, registry::Registry};

use super::Table;
use crate::http::{error::HttpError, openapi::refusals};

pub(super) fn configure(table: &mut Table) {
    table.get("/metrics", metrics);
}

#[utoipa::path(
    get, path = "/metrics", tag = "operation",
    summary = "Numbers for Prometheus",
    description = "Served on the address of `LATCHKEY_METRICS_BIND`. On the main address, it is a 404 unless \
         `LATCHKEY_METRICS_BIND=main`.",
    responses(
        (status = 200, description = "`OpenMetrics` text.", body = String,
            content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        refusals::Public
    )
)]
pub(in crate::http) async fn metrics(registry: Data<Registry>) -> Result<HttpResponse, HttpError> {
    let mut text = String::new();
    let failed = |_| HttpError::Service(crate::service::Error::Internal("metrics cannot be written".to_owned()));
    encode(&mut text, &registry).map_err(failed)?;
    let content_type = (CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(HttpResponse::Ok().insert_header(content_type).body(text))
}
