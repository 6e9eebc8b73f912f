//! `/.well-known/openid-configuration` and `/.well-known/oauth-authorization-server` (RFC 8414): what is true here,
//! and no value from the request's headers.

use actix_web::{HttpResponse, http::header::CACHE_CONTROL, web::Data};
use serde::Serialize;
use utoipa::ToSchema;

use super::RouteTable;
use crate::http::{error::HttpError, openapi::error_responses, state::State};

pub(super) fn configure(table: &mut RouteTable) {
    table.get("/.well-known/openid-configuration", discovery);
    table.get(
        "/.well-known/oauth-authorization-server",
        authorization_server,
    );
}

/// Where everything is.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Metadata<'a> {
    issuer: &'a str,
    jwks_uri: String,
    response_types_supported: [&'static str; 0],
    grant_types_supported: [&'static str; 0],
    subject_types_supported: [&'static str; 1],
    #[schema(value_type = Vec<String>)]
    id_token_signing_alg_values_supported: &'a [&'static str],
    #[schema(value_type = Vec<String>)]
    access_token_signing_alg_values_supported: &'a [&'static str],
    token_obtain_endpoint: String,
    token_refresh_endpoint: String,
    token_verify_endpoint: String,
    token_blacklist_endpoint: String,
    user_endpoint: String,
    sessions_endpoint: String,
    logout_endpoint: String,
    logout_all_endpoint: String,
}

/// Only an issuer that is a URL has a place where its endpoints are.
#[utoipa::path(
    get, path = "/.well-known/openid-configuration", tag = "keys", operation_id = "openid_configuration",
    summary = "Issuer, key set, algorithms and endpoints",
    description = "Where the libraries of OpenID Connect look for the keys. Only an issuer that is a URL has it.",
    responses((status = 200, description = "The document.", body = Metadata), error_responses::Discovery)
)]
pub(in crate::http) async fn discovery(state: Data<State>) -> Result<HttpResponse, HttpError> {
    let issuer = &state.settings.issuer;
    if !(issuer.starts_with("https://") || issuer.starts_with("http://")) {
        return Err(HttpError::NotFound);
    }
    let base = issuer.trim_end_matches('/');
    let keys = state.auth.keys().current();
    let algorithms: Vec<_> = keys
        .published
        .algorithms
        .iter()
        .map(|algorithm| algorithm.name())
        .collect();
    let document = Metadata {
        issuer,
        jwks_uri: format!("{base}/.well-known/jwks.json"),
        response_types_supported: [],
        grant_types_supported: [],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: &algorithms,
        access_token_signing_alg_values_supported: &algorithms,
        token_obtain_endpoint: format!("{base}/api/token/"),
        token_refresh_endpoint: format!("{base}/api/token/refresh/"),
        token_verify_endpoint: format!("{base}/api/token/verify/"),
        token_blacklist_endpoint: format!("{base}/api/token/blacklist/"),
        user_endpoint: format!("{base}/api/auth/user/"),
        sessions_endpoint: format!("{base}/api/auth/sessions/"),
        logout_endpoint: format!("{base}/api/auth/logout/"),
        logout_all_endpoint: format!("{base}/api/auth/logout/all/"),
    };
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, state.settings.jwks_caching.clone()))
        .json(document))
}

#[utoipa::path(
    get, path = "/.well-known/oauth-authorization-server", tag = "keys", operation_id = "oauth_authorization_server",
    summary = "The same, where RFC 8414 puts it",
    description = "Only an issuer that is a URL has it.",
    responses((status = 200, description = "The document.", body = Metadata), error_responses::Discovery)
)]
pub(in crate::http) async fn authorization_server(
    state: Data<State>,
) -> Result<HttpResponse, HttpError> {
    discovery(state).await
}
