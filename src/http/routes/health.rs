//! `/health/live`: the process runs. `/health/ready`: it can answer requests, and how well.

use actix_web::{
    HttpResponse,
    http::header::RETRY_AFTER,
    web::{Data, ServiceConfig},
};
use serde::Serialize;

use super::get;
use crate::{http::state::State, service::Health};

pub(super) fn configure(config: &mut ServiceConfig) {
    get(config, "/health/live", live);
    get(config, "/health/ready", ready);
}

#[derive(Serialize)]
struct Live {
    status: &'static str,
}

#[derive(Serialize)]
struct Ready {
    status: &'static str,
    database: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<&'static str>,
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().json(Live { status: Health::Ok.as_str() })
}

async fn ready(state: Data<State>) -> HttpResponse {
    let readiness = state.auth.readiness().await;
    let mut response = match readiness.overall() {
        Health::Down => HttpResponse::ServiceUnavailable(),
        Health::Degraded | Health::Ok => HttpResponse::Ok(),
    };
    if readiness.overall() == Health::Down {
        response.insert_header((RETRY_AFTER, "1"));
    }
    response.json(Ready {
        status: readiness.overall().as_str(),
        database: readiness.database.as_str(),
        redis: readiness.redis.map(Health::as_str),
    })
}
