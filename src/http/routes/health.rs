//! `/health/live`: the process runs. `/health/ready`: it can answer requests, and how well.

use actix_web::{
    HttpResponse,
    http::{Method, StatusCode, header::RETRY_AFTER},
    web::Data,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    http::{
        endpoint::{Endpoint, route},
        error::HttpError,
        extract::Client,
        state::State,
    },
    service::Health,
};

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

/// The process runs.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Live {
    /// `ok`.
    status: &'static str,
}

/// The readiness of the instance and its parts. Each is `ok`, `degraded` or `down`; `status` may also be `stopping`.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Ready {
    status: &'static str,
    database: &'static str,
    /// Only where there is a Redis.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<&'static str>,
    /// The key ring. `degraded` if this instance cannot read it, so that it does not notice revoked keys.
    keys: &'static str,
    /// Seconds since the key ring was last read. Only if `keys` is not `ok`.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    keys_last_look_seconds: Option<u64>,
}

/// The status of an instance that was asked to stop.
const STOPPING: &str = "stopping";

#[utoipa::path(
    get, path = "/health/live", tag = "operation",
    summary = "Check that the process runs",
    description = "Queries no other server: an unavailable database is no reason to restart the process.",
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
    description = "Without Redis, or if it cannot read its keys, the instance is degraded but serves requests. \
         Without its database, or if the embedded database cannot be written to, it is down. After a signal to stop, \
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
    let readiness = state.auth.readiness(&client).await?;
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
