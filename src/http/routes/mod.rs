//! The routes, one resource a file.

mod discovery;
mod health;
mod jwks;
mod token;
mod user;

use actix_web::{
    FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder,
    http::{
        Method,
        header::{ALLOW, HeaderValue},
    },
    middleware::DefaultHeaders,
    web::{self, ServiceConfig},
};

use super::error::HttpError;

/// All of them.
pub(super) fn configure(config: &mut ServiceConfig) {
    token::configure(config);
    jwks::configure(config);
    discovery::configure(config);
    user::configure(config);
    health::configure(config);
    config.default_service(web::route().to(not_found));
}

/// A resource that is read.
fn get<F, Args>(config: &mut ServiceConfig, path: &str, handler: F)
where
    F: Handler<Args> + Clone,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    config.service(
        both(path)
            .wrap(allow("GET, HEAD, OPTIONS"))
            .route(web::get().to(handler.clone()))
            .route(web::head().to(handler))
            .route(web::method(Method::OPTIONS).to(options))
            .default_service(web::route().to(method_not_allowed)),
    );
}

/// A resource that is posted to.
fn post<F, Args>(config: &mut ServiceConfig, path: &str, handler: F)
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    config.service(
        both(path)
            .wrap(allow("POST, OPTIONS"))
            .route(web::post().to(handler))
            .route(web::method(Method::OPTIONS).to(options))
            .default_service(web::route().to(method_not_allowed)),
    );
}

/// A resource with and without its final slash.
fn both(path: &str) -> Resource {
    web::resource([format!("{path}/"), path.to_owned()])
}

async fn method_not_allowed(request: HttpRequest) -> Result<HttpResponse, HttpError> {
    Err(HttpError::MethodNotAllowed(request.method().to_string()))
}

async fn not_found() -> Result<HttpResponse, HttpError> {
    Err(HttpError::NotFound)
}

/// What the resource allows, without the metadata that Django would add (RFC 9110, section 9.3.7).
async fn options() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

fn allow(methods: &'static str) -> DefaultHeaders {
    DefaultHeaders::new().add((ALLOW, HeaderValue::from_static(methods)))
}
