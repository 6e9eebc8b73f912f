//! `/.well-known/openid-configuration` and `/.well-known/oauth-authorization-server` (RFC 8414): what is true here,
//! and no value from the request's headers.

use actix_web::{
    HttpResponse,
    http::header::CACHE_CONTROL,
    web::{Data, ServiceConfig},
};
use serde_json::json;

use super::get;
use crate::http::{error::HttpError, state::State};

pub(super) fn configure(config: &mut ServiceConfig) {
    for path in ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"] {
        get(config, path, discovery);
    }
}

/// Only an issuer that is a URL has a place where its endpoints are.
async fn discovery(state: Data<State>) -> Result<HttpResponse, HttpError> {
    let issuer = &state.settings.issuer;
    if !(issuer.starts_with("https://") || issuer.starts_with("http://")) {
        return Err(HttpError::NotFound);
    }
    let base = issuer.trim_end_matches('/');
    let keys = state.auth.keys().current();
    let algorithms: Vec<_> = keys.published.algorithms.iter().map(|algorithm| algorithm.name()).collect();
    let document = json!({
        "issuer": issuer,
        "jwks_uri": format!("{base}/.well-known/jwks.json"),
        "response_types_supported": [],
        "grant_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
        "access_token_signing_alg_values_supported": algorithms,
        "token_obtain_endpoint": format!("{base}/api/token/"),
        "token_refresh_endpoint": format!("{base}/api/token/refresh/"),
        "token_verify_endpoint": format!("{base}/api/token/verify/"),
        "token_blacklist_endpoint": format!("{base}/api/token/blacklist/"),
        "user_endpoint": format!("{base}/api/auth/user/"),
    });
    let max_age = format!("public, max-age={}", state.settings.jwks_max_age.as_secs());
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, max_age)).json(document))
}
