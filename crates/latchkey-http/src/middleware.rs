//! Middleware of every request: request id, common headers, conversion of panics and errors to
//! responses, log and metrics.

use std::{cell::RefCell, panic::AssertUnwindSafe, sync::Arc, time::Instant};

use actix_web::{
    body::MessageBody,
    dev::{ResponseHead, ServiceRequest, ServiceResponse},
    error::InternalError,
    http::{
        ConnectionType, Method, StatusCode, Uri,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
            ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
            ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName,
            HeaderValue, REFERRER_POLICY, TRANSFER_ENCODING, WWW_AUTHENTICATE,
            X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
        },
    },
    middleware::Next,
    web::Data,
};
use futures_util::FutureExt as _;
use uuid::Uuid;

use super::{
    access_log::log, connection::Connection, endpoint::Dialect, error::HttpError,
    labels::RouteLabel, router::Matched, state::State,
};
use latchkey_crypto::random;
use latchkey_service::Error;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const MAX_REQUEST_ID: usize = 64;
/// Maximum length of a path and a query, in bytes. The longest valid one is shorter than 100.
const MAX_URI: usize = 2048;
/// Size of the buffer of random bytes for request ids.
const RANDOM_CAPACITY: usize = 1024;
static KNOWN: [Method; 8] = [
    Method::DELETE,
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::POST,
    Method::PUT,
    Method::TRACE,
];

/// Wraps the whole application.
pub(super) async fn around<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    let connection = request.conn_data::<Arc<Connection>>().cloned();
    let _handling = connection.as_deref().map(Connection::handle);
    let chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let id = request_id(request.headers());
    let state = request.app_data::<Data<State>>().cloned();
    let challenge = state
        .as_deref()
        .and_then(|state| state.settings.auth_header_types.first())
        .map(String::as_str);
    let (method, by_path, began) = (
        known(request.method()),
        RouteLabel::of(request.path()),
        Instant::now(),
    );
    let done = |route: RouteLabel, status: StatusCode, error: Option<&HttpError>| {
        log(method, route, &id, status, error);
        if let Some(state) = &state {
            let cause = error.map(HttpError::cause);
            state.metrics.count(route, status, cause, began.elapsed());
        }
    };
    // The web server would drain an unread chunked body, which may never end. It closes the
    // connection after an unread body of known length.
    let unread = || {
        chunked
            && connection
                .as_deref()
                .is_some_and(|connection| !connection.is_body_read())
    };
    // The web server closes the connection after an offer of another protocol. On the main address,
    // such offers are removed.
    let offered = request.head().connection_type() == ConnectionType::Upgrade;
    // During a stop, the response closes the connection, so that the client sends its next request
    // to another instance.
    let stopping = || {
        state
            .as_deref()
            .is_some_and(|state| state.stopping.has_begun())
    };
    let ends = || offered || unread() || stopping();
    let is_options = request.method() == Method::OPTIONS;
    let finish = |route: RouteLabel,
                  status: StatusCode,
                  headers: &mut HeaderMap,
                  challenge: Option<&str>| {
        finish(status, headers, id.clone(), challenge);
        if route.is_any_origin() {
            allow_any_origin(headers, is_options);
        }
    };
    let answered = if too_long(request.uri()) {
        Ok(Err(HttpError::UriTooLong.into()))
    } else {
        AssertUnwindSafe(next.call(request)).catch_unwind().await
    };
    let close = |head: &mut ResponseHead| {
        if ends() {
            head.set_connection_type(ConnectionType::Close);
        }
    };
    let refuse = |error: &HttpError, matched: Option<Matched>| {
        let (route, dialect) = matched
            .as_ref()
            .map_or((by_path, Dialect::Simplejwt), |matched| {
                (matched.label, matched.dialect)
            });
        let mut refusal = error.response(dialect);
        if let Some(matched) = matched {
            refusal.headers_mut().append(ALLOW, matched.allow);
        }
        let challenge = challenge.filter(|_| error.challenges(dialect));
        done(route, refusal.status(), Some(error));
        finish(route, refusal.status(), refusal.headers_mut(), challenge);
        close(refusal.head_mut());
        InternalError::from_response(error.cause(), refusal).into()
    };
    let error = match answered {
        Ok(Ok(mut response)) => {
            let matched = response.request().app_data::<Matched>().cloned();
            let error = response.response().error();
            if let Some(error) = error.and_then(|error| error.as_error::<HttpError>()) {
                return Err(refuse(error, matched));
            }
            let route = matched.as_ref().map_or(by_path, |matched| matched.label);
            done(route, response.status(), None);
            if let Some(matched) = matched {
                response.headers_mut().append(ALLOW, matched.allow);
            }
            finish(route, response.status(), response.headers_mut(), challenge);
            close(response.response_mut().head_mut());
            return Ok(response);
        }
        Ok(Err(error)) => error,
        // The panic hook has logged the panic. Its message is not sent to the client.
        Err(_) => HttpError::Service(Error::Internal("a handler panicked".to_owned())).into(),
    };
    if let Some(error) = error.as_error::<HttpError>() {
        return Err(refuse(error, None));
    }
    let mut response = error.error_response();
    done(by_path, response.status(), None);
    finish(
        by_path,
        response.status(),
        response.headers_mut(),
        challenge,
    );
    close(response.head_mut());
    Err(InternalError::from_response(error, response).into())
}

/// Returns true for a URI over the limit. The check precedes routing, because patterns read the
/// whole path.
fn too_long(uri: &Uri) -> bool {
    uri.path_and_query()
        .is_some_and(|rest| rest.as_str().len() > MAX_URI)
}

/// Adds the headers of every response.
fn finish(status: StatusCode, headers: &mut HeaderMap, id: HeaderValue, challenge: Option<&str>) {
    if let Some(scheme) = challenge.filter(|_| status == StatusCode::UNAUTHORIZED)
        && let Ok(challenge) = HeaderValue::try_from(format!("{scheme} realm=\"api\""))
    {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    headers.append(REQUEST_ID, id);
    standing_headers(headers);
}

/// Lets pages of any origin read the response, which is public and the same for every client.
fn allow_any_origin(headers: &mut HeaderMap, is_options: bool) {
    headers.append(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if is_options {
        headers.append(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, HEAD, OPTIONS"),
        );
        // The wildcard covers neither `Authorization`, which some clients add everywhere, nor old
        // browsers.
        headers.append(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("*, Authorization, If-None-Match"),
        );
        headers.append(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    } else {
        headers.append(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("ETag, X-Request-ID"),
        );
    }
}

/// Returns the headers and the body of a refusal by the web server itself, and logs it.
pub(super) fn unrouted(error: &HttpError) -> (HeaderMap, String) {
    let (status, body) = error.answer(Dialect::Simplejwt);
    let (mut headers, id) = (HeaderMap::new(), new_id());
    log("other", RouteLabel::OTHER, &id, status, Some(error));
    headers.append(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    finish(status, &mut headers, id, None);
    (headers, body.to_string())
}

/// Adds the constant headers. Appending is faster than inserting, and no handler sets them.
fn standing_headers(headers: &mut HeaderMap) {
    headers.append(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.append(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.append(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.append(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    // Only Swagger UI sets a policy. All other responses are data.
    if !headers.contains_key(CONTENT_SECURITY_POLICY) {
        let policy = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
        headers.append(CONTENT_SECURITY_POLICY, policy);
    }
    // Responses contain tokens or their validity. The few public documents set their own header.
    if !headers.contains_key(CACHE_CONTROL) {
        headers.append(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// Returns the client's request id if it is short and of letters, digits and `-_.`. Otherwise
/// returns a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_valid = |id: &&HeaderValue| {
        (1..=MAX_REQUEST_ID).contains(&id.len())
            && id
                .as_bytes()
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
    };
    headers
        .get(&REQUEST_ID)
        .filter(is_valid)
        .map_or_else(new_id, HeaderValue::clone)
}

/// Returns a random id of 32 hex digits. Ids are not secret, so random bytes are read from the
/// operating system for many ids at once.
fn new_id() -> HeaderValue {
    thread_local! {
        static DRAWN: RefCell<([u8; RANDOM_CAPACITY], usize)> =
            const { RefCell::new(([0; RANDOM_CAPACITY], RANDOM_CAPACITY)) };
    }
    let id = DRAWN.with_borrow_mut(|(drawn, next)| {
        if *next >= RANDOM_CAPACITY {
            // Without randomness, sign-ins fail, too. Duplicate ids do no harm.
            (*drawn, *next) = (random::bytes().unwrap_or([0; RANDOM_CAPACITY]), 0);
        }
        let bytes = drawn
            .get(*next..)
            .and_then(|rest| rest.first_chunk().copied())
            .unwrap_or_default();
        *next += bytes.len();
        Uuid::from_bytes(bytes)
    });
    // Hex digits are always a valid header value.
    let text = HeaderValue::from_str(id.simple().encode_lower(&mut Uuid::encode_buffer()));
    text.unwrap_or_else(|_| HeaderValue::from_static("0"))
}

fn known(method: &Method) -> &'static str {
    KNOWN
        .iter()
        .find(|known| *known == method)
        .map_or("other", Method::as_str)
}

#[cfg(test)]
mod tests {
    use actix_web::{
        App, HttpResponse,
        dev::Service as _,
        http::StatusCode,
        middleware::from_fn,
        test::{TestRequest, call_service, init_service, read_body},
        web,
    };

    use super::around;

    async fn breaks() -> HttpResponse {
        panic!("the password is hunter2")
    }

    #[tokio::test]
    async fn panic_of_a_handler_is_a_500_without_details() {
        let app = App::new()
            .wrap(from_fn(around))
            .route("/breaks", web::get().to(breaks));
        let app = init_service(app).await;
        for _ in 0..2 {
            let called = app
                .call(TestRequest::get().uri("/breaks").to_request())
                .await;
            let Err(error) = called else {
                panic!("a panic has a success response")
            };
            let response = error.error_response();
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert!(response.headers().contains_key("x-request-id"));
            let body = actix_web::body::to_bytes(response.into_body()).await.ok();
            assert_eq!(
                body.as_deref(),
                Some(&br#"{"detail":"Internal server error."}"#[..])
            );
        }
        let missing = call_service(&app, TestRequest::get().uri("/else").to_request()).await;
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
        assert!(read_body(missing).await.is_empty());
    }
}
