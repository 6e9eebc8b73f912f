//! Where the handlers are. Every path is answered with and without its final slash, and every answer says what its
//! resource allows.

use actix_web::{
    FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder, Route,
    guard::fn_guard,
    http::{Method, header::HeaderValue},
    web::{self, ServiceConfig},
};

use crate::http::error::HttpError;

/// The methods of a resource, as `Allow` names them.
pub(in crate::http) struct Allowed(pub HeaderValue);

/// Resources in the order in which they are tried: as clients usually write them, then written otherwise, then patterns,
/// each of which costs whatever follows it a regular expression.
#[derive(Default)]
pub(super) struct RouteTable {
    usual: Vec<Resource>,
    otherwise: Vec<Resource>,
    patterns: Vec<Resource>,
}

impl RouteTable {
    /// A resource that is read.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a handler is named where its path is, without an ampersand"
    )]
    pub(super) fn get<F, Args>(&mut self, path: &str, handler: F)
    where
        F: Handler<Args> + Clone,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.add(path, "GET, HEAD, OPTIONS", |resource| {
            read(resource, handler.clone()).default_service(web::route().to(method_not_allowed))
        });
    }

    /// A resource that is posted to.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a handler is named where its path is, without an ampersand"
    )]
    pub(super) fn post<F, Args>(&mut self, path: &str, handler: F)
    where
        F: Handler<Args> + Clone,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.add(path, "POST, OPTIONS", |resource| {
            resource
                .route(on(Method::POST).to(handler.clone()))
                .default_service(web::route().to(method_not_allowed))
        });
    }

    /// Two resources, because actix compares one path and interprets a regular expression for a resource of two: a sixth
    /// of the time of a key set. `OPTIONS` is answered on all of them.
    pub(super) fn add(
        &mut self,
        path: &str,
        allowed: &'static str,
        routes: impl Fn(Resource) -> Resource,
    ) {
        let resource = |path: &str| {
            routes(web::resource(path).app_data(Allowed(HeaderValue::from_static(allowed))))
                .route(on(Method::OPTIONS).to(options))
        };
        let (bare, slash) = (resource(path), resource(&format!("{path}/")));
        if path.contains('{') {
            self.patterns.extend([bare, slash]);
        } else if path.starts_with("/api/") {
            // As in Django.
            self.usual.push(slash);
            self.otherwise.push(bare);
        } else {
            self.usual.push(bare);
            self.otherwise.push(slash);
        }
    }

    pub(super) fn register(self, config: &mut ServiceConfig) {
        for resource in self
            .usual
            .into_iter()
            .chain(self.otherwise)
            .chain(self.patterns)
        {
            config.service(resource);
        }
    }
}

/// The routes of what is read; the rest of the methods is for the caller to answer.
pub(super) fn read<F, Args>(resource: Resource, handler: F) -> Resource
where
    F: Handler<Args> + Clone,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    resource
        .route(on(Method::GET).to(handler.clone()))
        .route(on(Method::HEAD).to(handler))
}

/// actix's own guards note in each request what they were asked for, which only its own 405 needs.
pub(super) fn on(method: Method) -> Route {
    web::route().guard(fn_guard(move |context| context.head().method == method))
}

pub(super) async fn method_not_allowed(request: HttpRequest) -> Result<HttpResponse, HttpError> {
    Err(HttpError::MethodNotAllowed(request.method().to_string()))
}

/// What the resource allows, without the metadata that Django would add (RFC 9110, section 9.3.7).
async fn options() -> HttpResponse {
    HttpResponse::NoContent().finish()
}
