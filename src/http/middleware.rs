//! Around every request: an id, the headers that every answer carries, panics as answers, one line in the log.

use std::{panic::AssertUnwindSafe, sync::Arc};

use actix_web::{
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
            WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
        },
    },
    middleware::Next,
    web::Data,
};
use futures_util::FutureExt as _;

use super::{error::HttpError, state::State};
use crate::{crypto::random, service::Error};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const MAX_REQUEST_ID: usize = 64;

/// The challenge of every 401.
pub(super) struct Challenge(pub HeaderValue);

impl Challenge {
    pub(super) fn new(scheme: &str) -> Self {
        let text = format!("{scheme} realm=\"api\"");
        Self(HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("Bearer realm=\"api\"")))
    }
}

/// Wraps the whole application.
pub(super) async fn around<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let id = request_id(request.headers());
    let state = request.app_data::<Data<State>>().map(|state| Arc::clone(state));
    let line = (request.method().clone(), request.path().to_owned());
    let http_request = request.request().clone();
    let mut response = match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(Ok(response)) => response.map_into_left_body(),
        Ok(Err(error)) => ServiceResponse::new(http_request, error.error_response()).map_into_right_body(),
        // The hook has printed where; the client learns nothing, and the server goes on.
        Err(_) => {
            let error = HttpError::Service(Error::Internal("a handler panicked".to_owned()));
            ServiceResponse::from_err(error, http_request).map_into_right_body()
        }
    };
    log(&line.0, &line.1, &id, &response);
    let status = response.status();
    let headers = response.headers_mut();
    if let Some(state) = state.filter(|_| status == StatusCode::UNAUTHORIZED)
        && let Some(scheme) = state.settings.auth_header_types.first()
    {
        headers.insert(WWW_AUTHENTICATE, Challenge::new(scheme).0);
    }
    standing_headers(headers);
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    Ok(response)
}

fn standing_headers(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    // Answers carry or judge tokens; the few that may be cached say so themselves.
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// The caller's id if it is a harmless word, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let harmless = |id: &&str| {
        (1..=MAX_REQUEST_ID).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    given.filter(harmless).map_or_else(random::jti, ToOwned::to_owned)
}

/// Failures of ours are errors, refusals are worth a line, the rest is for debugging. Never a token, never a body.
fn log<B>(method: &actix_web::http::Method, path: &str, id: &str, response: &ServiceResponse<B>) {
    let status = response.status().as_u16();
    let error = response.response().error().and_then(|error| error.as_error::<HttpError>());
    match error {
        Some(error) => match error.internal() {
            Some(internal) => tracing::error!(%method, path, status, request = id, cause = error.cause(), %internal),
            None => tracing::info!(%method, path, status, request = id, cause = error.cause()),
        },
        None => tracing::debug!(%method, path, status, request = id),
    }
}
