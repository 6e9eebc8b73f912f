//! Routing. Every path is served with and without a final slash, and every response of a resource
//! has an `Allow` header.

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse, Resource, Route,
    guard::fn_guard,
    http::{Method, header::HeaderValue},
    web::{self, ServiceConfig},
};

use super::{
    endpoint::{Access, Dialect, Endpoint},
    error::HttpError,
    extract::{Auth, OptionalAuth},
    labels::RouteLabel,
    routes,
    state::HttpSettings,
};

/// Methods in the order of `Allow` in Django REST framework.
const ORDER: [Method; 7] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::HEAD,
    Method::OPTIONS,
];

/// Properties of the matched resource, for the middleware.
#[derive(Clone, Debug)]
pub(super) struct Matched {
    pub allow: HeaderValue,
    pub dialect: Dialect,
    pub label: RouteLabel,
}

/// Returns all endpoints, the most frequent ones first, because actix compares paths in this order.
pub(super) fn endpoints() -> &'static [Endpoint] {
    static ENDPOINTS: LazyLock<Vec<Endpoint>> = LazyLock::new(routes::all);
    &ENDPOINTS
}

/// Registers the endpoints that are enabled in the settings.
pub(super) fn configure(config: &mut ServiceConfig, settings: &HttpSettings) {
    let enabled = endpoints()
        .iter()
        .filter(|endpoint| (endpoint.enabled)(settings));
    register(
        config,
        enabled,
        &routes::discovery::aliases(&settings.issuer),
    );
}

/// Registers `/metrics` alone.
pub(super) fn configure_metrics(config: &mut ServiceConfig) {
    let metrics = endpoints()
        .iter()
        .filter(|endpoint| endpoint.path == routes::metrics::PATH);
    register(config, metrics, &[]);
}

/// Registers resources in the order in which actix compares them: first paths as clients usually
/// write them, then the other spelling, then patterns. One resource for both spellings would be a
/// regular expression, which takes a sixth of the time of a key set request.
fn register(
    config: &mut ServiceConfig,
    endpoints: impl Iterator<Item = &'static Endpoint>,
    aliases: &[(&'static str, String)],
) {
    let mut by_path: Vec<(&'static str, Vec<&'static Endpoint>)> = Vec::new();
    for endpoint in endpoints {
        match by_path.iter_mut().find(|(path, _)| *path == endpoint.path) {
            Some((_, methods)) => methods.push(endpoint),
            None => by_path.push((endpoint.path, vec![endpoint])),
        }
    }
    let (mut canonical, mut alternate, mut dynamic) = (Vec::new(), Vec::new(), Vec::new());
    for (path, methods) in &by_path {
        let (bare, slash) = (
            resource(path, methods),
            resource(&format!("{path}/"), methods),
        );
        if path.contains('{') {
            dynamic.extend([bare, slash]);
        } else if path.starts_with("/api/") {
            // Django's paths end with a slash.
            canonical.push(slash);
            alternate.push(bare);
        } else {
            canonical.push(bare);
            alternate.push(slash);
        }
        for (_, alias) in aliases.iter().filter(|(of, _)| of == path) {
            alternate.extend([
                resource(alias, methods),
                resource(&format!("{alias}/"), methods),
            ]);
        }
    }
    for resource in canonical.into_iter().chain(alternate).chain(dynamic) {
        config.service(resource);
    }
    config.default_service(web::route().to(not_found));
}

/// Returns the resource of a path. All its methods share one access rule and one dialect.
fn resource(path: &str, methods: &[&'static Endpoint]) -> Resource {
    let Some(first) = methods.first() else {
        return web::resource(path);
    };
    let matched = Matched {
        allow: allowed(methods),
        dialect: first.dialect,
        label: RouteLabel::of(first.path),
    };
    let resource = methods
        .iter()
        .fold(
            web::resource(path).app_data(matched),
            |resource, endpoint| endpoint.mount(resource),
        )
        .route(on(Method::OPTIONS).to(options));
    resource.default_service(match first.access {
        Access::Public => web::route().to(method_not_allowed),
        Access::Optional => web::route().to(method_not_allowed_optional),
        Access::Required => web::route().to(method_not_allowed_required),
    })
}

fn allowed(methods: &[&'static Endpoint]) -> HeaderValue {
    if let Some(allow) = methods.iter().find_map(|endpoint| endpoint.allow) {
        return HeaderValue::from_static(allow);
    }
    let has = |method: &Method| methods.iter().any(|endpoint| endpoint.method == *method);
    let listed = ORDER.iter().filter(|method| {
        has(method) || *method == Method::OPTIONS || (*method == Method::HEAD && has(&Method::GET))
    });
    let text = listed.map(Method::as_str).collect::<Vec<_>>().join(", ");
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("OPTIONS"))
}

/// Returns a route for one method. The guards of actix also record the method in each
/// request, which only the 405 of actix needs.
pub(super) fn on(method: Method) -> Route {
    web::route().guard(fn_guard(move |context| context.head().method == method))
}

async fn method_not_allowed(request: HttpRequest) -> Result<HttpResponse, HttpError> {
    Err(HttpError::MethodNotAllowed(request.method().to_string()))
}

async fn method_not_allowed_optional(
    request: HttpRequest,
    _: OptionalAuth,
) -> Result<HttpResponse, HttpError> {
    method_not_allowed(request).await
}

/// Authenticates first: without credentials, an unsupported method is a 401.
async fn method_not_allowed_required(
    request: HttpRequest,
    _: Auth,
) -> Result<HttpResponse, HttpError> {
    method_not_allowed(request).await
}

/// Returns no body, and so not the metadata of Django REST framework. The middleware adds `Allow`
/// (RFC 9110, section 9.3.7).
async fn options() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

async fn not_found() -> Result<HttpResponse, HttpError> {
    Err(HttpError::NotFound)
}

#[cfg(test)]
mod tests {
    use actix_web::{App, body::to_bytes, dev::Service as _, middleware::from_fn, test};

    use super::*;
    use crate::{endpoint::route, middleware::around};
    use latchkey_service::{Error, TokenDetail};

    /// Converts the error with `?`, as any handler may.
    async fn refuses() -> Result<HttpResponse, HttpError> {
        Err(Error::token(TokenDetail::Blacklisted, "reuse"))?;
        Ok(HttpResponse::Ok().finish())
    }

    async fn body(dialect: Dialect) -> String {
        let endpoint = route(Method::POST, "/refuses")
            .dialect(dialect)
            .handle(refuses);
        let endpoints: &'static [Endpoint] = Box::leak(Box::new([endpoint]));
        let app = App::new()
            .wrap(from_fn(around))
            .configure(|config| register(config, endpoints.iter(), &[]));
        let app = test::init_service(app).await;
        let request = test::TestRequest::post().uri("/refuses/").to_request();
        let Err(error) = app.call(request).await else {
            panic!("a refusal has a success response")
        };
        let body = to_bytes(error.error_response().into_body()).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn handler_error_has_the_dialect_of_its_endpoint() {
        let text = "Token is blacklisted";
        for (dialect, expected) in [
            (
                Dialect::Simplejwt,
                format!(r#"{{"detail":"{text}","code":"token_not_valid"}}"#),
            ),
            (
                Dialect::Verify,
                format!(r#"{{"non_field_errors":["{text}"]}}"#),
            ),
            (
                Dialect::Protected,
                format!(
                    r#"{{"detail":"Given token not valid for any token type","code":"token_not_valid","messages":[{{"token_class":"AccessToken","token_type":"access","message":"{text}"}}]}}"#
                ),
            ),
            (Dialect::DjRestAuth, format!(r#"{{"detail":"{text}"}}"#)),
        ] {
            assert_eq!(body(dialect).await, expected, "{dialect:?}");
        }
    }

    #[test]
    fn endpoints_of_one_path_have_one_access_and_dialect() {
        for endpoint in endpoints() {
            let first = endpoints()
                .iter()
                .find(|other| other.path == endpoint.path)
                .unwrap();
            assert_eq!(
                (first.access, first.dialect),
                (endpoint.access, endpoint.dialect),
                "{}",
                endpoint.path
            );
        }
    }
}
