//! The routes, one resource a file.

pub(super) mod discovery;
pub(super) mod docs;
pub(super) mod health;
pub(super) mod jwks;
pub(super) mod logout;
pub(super) mod metrics;
pub(super) mod sessions;
pub(super) mod token;
pub(super) mod user;

use actix_web::{
    FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder,
    http::{
        Method,
        header::{ALLOW, HeaderValue},
    },
    middleware::DefaultHeaders,
    web::{self, Data, ServiceConfig},
};

use super::{bearer, client::client, error::HttpError, state::State};
use crate::service::Identity;

/// All of them, those that are asked for most first. Paths that are patterns come last: each costs whatever follows it a
/// regular expression.
pub(super) fn configure(config: &mut ServiceConfig) {
    token::configure(config);
    jwks::configure(config);
    discovery::configure(config);
    user::configure(config);
    health::configure(config);
    logout::configure(config);
    sessions::configure(config);
    config.default_service(web::route().to(not_found));
}

/// A resource that is read.
#[expect(clippy::needless_pass_by_value, reason = "a handler is named where its path is, without an ampersand")]
fn get<F, Args>(config: &mut ServiceConfig, path: &str, handler: F)
where
    F: Handler<Args> + Clone,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    for resource in both(path) {
        config.service(
            resource
                .wrap(allow("GET, HEAD, OPTIONS"))
                .route(web::get().to(handler.clone()))
                .route(web::head().to(handler.clone()))
                .route(web::method(Method::OPTIONS).to(options))
                .default_service(web::route().to(method_not_allowed)),
        );
    }
}

/// A resource that is posted to.
#[expect(clippy::needless_pass_by_value, reason = "a handler is named where its path is, without an ampersand")]
fn post<F, Args>(config: &mut ServiceConfig, path: &str, handler: F)
where
    F: Handler<Args> + Clone,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    for resource in both(path) {
        config.service(
            resource
                .wrap(allow("POST, OPTIONS"))
                .route(web::post().to(handler.clone()))
                .route(web::method(Method::OPTIONS).to(options))
                .default_service(web::route().to(method_not_allowed)),
        );
    }
}

/// A resource with and without its final slash. Two, because actix compares one path and interprets a regular expression
/// for a resource of two: a sixth of the time of a key set.
fn both(path: &str) -> [Resource; 2] {
    [web::resource(format!("{path}/")), web::resource(path)]
}

async fn method_not_allowed(request: HttpRequest) -> Result<HttpResponse, HttpError> {
    Err(HttpError::MethodNotAllowed(request.method().to_string()))
}

/// First who, then what: without credentials a wrong method is a 401.
async fn signed_in_first(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, HttpError> {
    authenticated(&request, &state).await?;
    Err(HttpError::MethodNotAllowed(request.method().to_string()))
}

async fn authenticated(request: &HttpRequest, state: &State) -> Result<Identity, HttpError> {
    let token = bearer::token(request, &state.settings.auth_header_types)?;
    state.auth.authenticate(&token, &client(request)).await.map_err(HttpError::AccessToken)
}

pub(super) async fn not_found() -> Result<HttpResponse, HttpError> {
    Err(HttpError::NotFound)
}

/// What the resource allows, without the metadata that Django would add (RFC 9110, section 9.3.7).
async fn options() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

fn allow(methods: &'static str) -> DefaultHeaders {
    DefaultHeaders::new().add((ALLOW, HeaderValue::from_static(methods)))
}
