//! The routes, one resource a file.

pub(super) mod discovery;
pub(super) mod docs;
pub(super) mod health;
pub(super) mod jwks;
pub(super) mod logout;
pub(super) mod metrics;
mod router;
pub(super) mod sessions;
pub(super) mod token;
pub(super) mod user;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{self, Data, ServiceConfig},
};

pub(super) use self::router::Allowed;
use self::router::{RouteTable, method_not_allowed, on, read};
use super::{
    bearer,
    client_info::client,
    error::HttpError,
    state::{HttpSettings, State},
};
use crate::service::Identity;

/// All of them, those that are asked for most first.
pub(super) fn configure(config: &mut ServiceConfig, settings: &HttpSettings) {
    let mut table = RouteTable::default();
    token::configure_frequent(&mut table);
    jwks::configure(&mut table);
    token::configure_rare(&mut table);
    discovery::configure(&mut table);
    user::configure(&mut table);
    health::configure(&mut table);
    logout::configure(&mut table);
    sessions::configure(&mut table);
    if settings.metrics {
        metrics::configure(&mut table);
    }
    if settings.docs {
        docs::configure(&mut table);
    }
    table.register(config);
    config.default_service(web::route().to(not_found));
}

/// `/metrics` and nothing else.
pub(super) fn configure_metrics(config: &mut ServiceConfig) {
    let mut table = RouteTable::default();
    metrics::configure(&mut table);
    table.register(config);
    config.default_service(web::route().to(not_found));
}

/// First who, then what: without credentials a wrong method is a 401.
async fn signed_in_first(
    request: HttpRequest,
    state: Data<State>,
) -> Result<HttpResponse, HttpError> {
    authenticated(&request, &state).await?;
    Err(HttpError::MethodNotAllowed(request.method().to_string()))
}

async fn authenticated(request: &HttpRequest, state: &State) -> Result<Identity, HttpError> {
    let token = bearer::token(request, &state.settings.auth_header_types)?;
    state
        .auth
        .authenticate(&token, &client(request))
        .await
        .map_err(HttpError::AccessToken)
}

async fn not_found() -> Result<HttpResponse, HttpError> {
    Err(HttpError::NotFound)
}
