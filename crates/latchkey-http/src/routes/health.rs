//! `/health/live` reports that the process runs, and `/health/ready` that it can serve requests.

use actix_web::{
    HttpResponse,
    http::{Method, StatusCode, header::RETRY_AFTER},
    web::Data,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    endpoint::{Endpoint, route},
    error::HttpError,
    extract::Client,
    state::State,
};
use latchkey_service::Health;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        route(Method::GET, "/health/live")
            .document::<__path_live>()
            .handle(live),
        route(Method::GET, "/health/ready")
            .document::<__path_ready>()
            .handle(ready),
    ]
}

/// State of the process.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Live {
    /// `ok`.
    status: &'static str,
}

/// Readiness of the instance and its dependencies: `ok`, `degraded` or `down`. `status` may also be
/// `stopping`.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Ready {
    status: &'static str,
    database: &'static str,
    /// Absent without Redis.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<&'static str>,
    /// Key ring. `degraded` if the instance cannot read it, because revocations of keys are then
    /// not noticed.
    keys: &'static str,
    /// Seconds since the key ring was last read. Absent if `keys` is `ok`.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    keys_last_look_seconds: Option<u64>,
}

/// Status after a signal to stop.
const STOPPING: &str = "stopping";

#[utoipa::path(
    get, path = "/health/live", tag = "operation",
    summary = "Check that the process runs",
    description = "Does not query other servers, because an unavailable database is no reason to restart the process.",
    responses((status = 200, description = "The process runs.", body = Live, example = json!({ "status": "ok" })))
)]
async fn live() -> HttpResponse {
    HttpResponse::Ok().json(Live {
        status: Health::Ok.as_str(),
    })
}

#[utoipa::path(
    get, path = "/health/ready", tag = "operation",
    summary = "Check that requests can be served",
    description = "If Redis is unavailable or the key ring cannot be read, the instance is degraded but serves requests. \
         If the database is unavailable, or the embedded database cannot be written to, it is down. After a signal to stop, \
         it is stopping.",
    responses(
        (status = 200, description = "Ready.", body = Ready,
            examples(
                ("embedded" = (value = json!({ "status": "ok", "database": "ok", "keys": "ok" }))),
                ("with_redis" = (value = json!({ "status": "ok", "database": "ok", "redis": "ok", "keys": "ok" })))
            )),
        (status = 503, description = "Not ready.", body = Ready,
            headers(("Retry-After" = u32, description = "Seconds to wait.")),
            examples(
                ("down" = (value = json!({ "status": "down", "database": "down", "keys": "ok" }))),
                ("stopping" = (value = json!({ "status": "stopping", "database": "ok", "keys": "ok" })))
            )),
    )
)]
async fn ready(Client(client): Client, state: Data<State>) -> Result<HttpResponse, HttpError> {
    let readiness = state.services.health.readiness(&client).await?;
    let status = if state.stopping.has_begun() {
        STOPPING
    } else {
        readiness.overall().as_str()
    };
    let mut response = HttpResponse::Ok();
    if status == STOPPING || status == Health::Down.as_str() {
        response
            .status(StatusCode::SERVICE_UNAVAILABLE)
            .insert_header((RETRY_AFTER, "1"));
    }
    Ok(response.json(Ready {
        status,
        database: readiness.database.as_str(),
        redis: readiness.redis.map(Health::as_str),
        keys: readiness.keys.as_str(),
        keys_last_look_seconds: (readiness.keys != Health::Ok)
            .then_some(readiness.keys_last_look_seconds),
    }))
}
