//! `/.well-known/openid-configuration` and `/.well-known/oauth-authorization-server` (RFC 8414). No
//! value comes from request headers.

use std::collections::BTreeMap;

use actix_web::{
    HttpResponse,
    http::{Method, Uri, header::CACHE_CONTROL},
    web::Data,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    endpoint::{Endpoint, route},
    error::HttpError,
    router,
    state::State,
};

const OPENID: &str = "/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        route(Method::GET, OPENID)
            .any_origin()
            .errors(|| vec![HttpError::NotFound])
            .document::<__path_openid_configuration>()
            .handle(openid_configuration),
        route(Method::GET, OAUTH)
            .any_origin()
            .errors(|| vec![HttpError::NotFound])
            .document::<__path_authorization_server>()
            .handle(authorization_server),
    ]
}

/// Returns the additional paths of the documents for an issuer with a path, with their endpoints.
/// OAuth inserts the well-known part before the path of the issuer (RFC 8414, section 3.1), and
/// OpenID Connect appends it (Discovery, section 4). Libraries use both forms for both documents.
pub(crate) fn aliases(issuer: &str) -> Vec<(&'static str, String)> {
    let path = issuer.parse::<Uri>().ok().filter(|_| is_url(issuer));
    let path = path.as_ref().map_or("", Uri::path).trim_end_matches('/');
    // The router reads braces and `*` as patterns, and compares decoded paths.
    if path.is_empty() || path.contains(['{', '}', '*', '%']) {
        return Vec::new();
    }
    [OPENID, OAUTH]
        .into_iter()
        .flat_map(|known| {
            [
                (known, format!("{known}{path}")),
                (known, format!("{path}{known}")),
            ]
        })
        .collect()
}

/// Metadata of the issuer: key set, algorithms and endpoints.
#[derive(Serialize, ToSchema)]
struct Metadata<'a> {
    issuer: &'a str,
    jwks_uri: String,
    /// `none`, because there is no authorization endpoint. RFC 8414 requires a non-empty list.
    response_types_supported: [&'static str; 1],
    subject_types_supported: [&'static str; 1],
    #[schema(value_type = Vec<String>)]
    id_token_signing_alg_values_supported: &'a [&'static str],
    #[schema(value_type = Vec<String>)]
    access_token_signing_alg_values_supported: &'a [&'static str],
    /// URLs of the advertised endpoints.
    #[serde(flatten)]
    #[schema(ignore)]
    endpoints: BTreeMap<&'static str, String>,
}

#[utoipa::path(
    get, path = "/.well-known/openid-configuration", tag = "keys", operation_id = "openid_configuration",
    summary = "Get the OpenID Connect discovery document",
    description = "Contains issuer, key set, algorithms and endpoints. OpenID Connect libraries use it to find the key set. Without an issuer that is a URL, it is a 404. If the issuer \
         has a path, the document is also served at the well-known path followed by the issuer's path, and at the issuer's \
         path followed by the well-known path.",
    responses((status = 200, description = "The document.", body = Metadata))
)]
async fn openid_configuration(state: Data<State>) -> Result<HttpResponse, HttpError> {
    metadata(&state)
}

#[utoipa::path(
    get, path = "/.well-known/oauth-authorization-server", tag = "keys", operation_id = "oauth_authorization_server",
    summary = "Get the authorization server metadata (RFC 8414)",
    description = "Returns the document of `/.well-known/openid-configuration`. Without an issuer that is a URL, it is a 404. If \
         the issuer has a path, the document is also served at the well-known path followed by the issuer's path, and at the \
         issuer's path followed by the well-known path.",
    responses((status = 200, description = "The document.", body = Metadata))
)]
async fn authorization_server(state: Data<State>) -> Result<HttpResponse, HttpError> {
    metadata(&state)
}

fn is_url(issuer: &str) -> bool {
    issuer.starts_with("https://") || issuer.starts_with("http://")
}

fn metadata(state: &State) -> Result<HttpResponse, HttpError> {
    let issuer = &state.settings.issuer;
    if !is_url(issuer) {
        return Err(HttpError::NotFound);
    }
    let base = issuer.trim_end_matches('/');
    let keys = state.services.keys.current();
    let algorithms: Vec<_> = keys
        .published
        .algorithms
        .iter()
        .map(|algorithm| algorithm.name())
        .collect();
    let endpoints = router::endpoints().iter().filter_map(|endpoint| {
        let url = format!("{base}{}/", endpoint.path);
        endpoint.advertised.map(|member| (member, url))
    });
    let document = Metadata {
        issuer,
        jwks_uri: format!("{base}/.well-known/jwks.json"),
        response_types_supported: ["none"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: &algorithms,
        access_token_signing_alg_values_supported: &algorithms,
        endpoints: endpoints.collect(),
    };
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, state.settings.jwks_caching.clone()))
        .json(document))
}
