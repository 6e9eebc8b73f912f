//! `/.well-known/jwks.json`: the public keys of access tokens (RFC 7517, section 5).

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH},
    },
    web::Data,
};

use crate::{
    endpoint::{Endpoint, route},
    openapi::schemas::JwkSet,
    state::State,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        route(Method::GET, "/.well-known/jwks.json")
            .any_origin()
            .document::<__path_jwks>()
            .handle(jwks),
    ]
}

#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "keys",
    summary = "Get the public keys of access tokens",
    description = "Returns a JWK Set (RFC 7517). A new key is published before it signs.",
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of an earlier response.")),
    responses(
        (status = 200, description = "The keys.", body = JwkSet, headers(("ETag" = String, description = "Identifies this key set.")),
            example = json!({ "keys": [{
                "crv": "P-256", "kty": "EC", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", "alg": "ES256",
                "kid": "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U", "use": "sig"
            }] })),
        (status = 304, description = "The keys have not changed.", headers(("ETag" = String, description = "Identifies this key set."))),
    )
)]
async fn jwks(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let keys = state.services.keys.current();
    let published = &keys.published;
    let unchanged = matches(&request, &published.etag);
    let mut response = if unchanged {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response.append_header((CACHE_CONTROL, state.settings.jwks_caching.clone()));
    if let Ok(etag) = HeaderValue::from_maybe_shared(published.etag.clone()) {
        response.append_header((ETAG, etag));
    }
    if unchanged {
        return response.finish();
    }
    response
        .append_header((CONTENT_TYPE, HeaderValue::from_static("application/json")))
        .body(published.body.clone())
}

/// Returns true if `If-None-Match` contains the tag or `*`. The comparison is weak (RFC 9110,
/// section 13.1.2).
fn matches(request: &HttpRequest, etag: &[u8]) -> bool {
    request
        .headers()
        .get_all(IF_NONE_MATCH)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .any(|tag| {
            matches!(tag.trim(), "*") || tag.trim().trim_start_matches("W/").as_bytes() == etag
        })
}
