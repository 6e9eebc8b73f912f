//! `/.well-known/jwks.json`: the public keys of access tokens (RFC 7517, section 5). From memory: no server that may
//! be down has a part in it.

use std::cell::RefCell;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH},
    web::{Bytes, Data},
};

use super::RouteTable;
use crate::{
    crypto::key_ring::PublishedKeys,
    http::{
        openapi::{error_responses, schemas::JwkSet},
        state::State,
    },
};

pub(super) fn configure(table: &mut RouteTable) {
    table.get("/.well-known/jwks.json", jwks);
}

#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "keys",
    summary = "The public keys of access tokens",
    description = "A JWK Set (RFC 7517). A new key is in it before it signs.",
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of an earlier answer.")),
    responses(
        (status = 200, description = "The keys.", body = JwkSet, headers(("ETag" = String, description = "Names this set.")),
            example = json!({ "keys": [{
                "crv": "P-256", "kty": "EC", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", "alg": "ES256",
                "kid": "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U", "use": "sig"
            }] })),
        (status = 304, description = "They are still the same.", headers(("ETag" = String, description = "Names this set."))),
        error_responses::Public
    )
)]
pub(in crate::http) async fn jwks(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let (etag, body) = own(&state.auth.keys().current().published);
    let unchanged = matches(&request, etag.as_bytes());
    let mut response = if unchanged {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response.append_header((CACHE_CONTROL, state.settings.jwks_caching.clone()));
    response.append_header((ETAG, etag));
    if unchanged {
        return response.finish();
    }
    response
        .append_header((CONTENT_TYPE, HeaderValue::from_static("application/json")))
        .body(body)
}

/// `ETag` and body in memory of this thread's own, copied when the key set is another than the one before: a shared count
/// of references would go to and fro between the cores.
fn own(published: &PublishedKeys) -> (HeaderValue, Bytes) {
    thread_local! {
        static OWN: RefCell<(HeaderValue, Bytes)> = const { RefCell::new((HeaderValue::from_static(""), Bytes::new())) };
    }
    OWN.with_borrow_mut(|own| {
        // It is a hash of the body.
        if own.0.as_bytes() != published.etag {
            let etag = HeaderValue::from_bytes(&published.etag)
                .unwrap_or_else(|_| HeaderValue::from_static(""));
            *own = (etag, Bytes::copy_from_slice(&published.body));
        }
        own.clone()
    })
}

/// RFC 9110, section 13.1.2: a weak comparison, and `*` fits anything.
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
