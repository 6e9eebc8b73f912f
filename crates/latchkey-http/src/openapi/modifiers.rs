//! Properties of all operations: the three content types of a body, the headers of every response,
//! the access token, and links from responses to requests.

use serde_json::{Value, json};
use utoipa::{
    Modify,
    openapi::{
        AllOfBuilder, Components, HeaderBuilder, ObjectBuilder, OpenApi, Ref, RefOr, Response,
        link::LinkBuilder,
        path::{Operation, PathItem},
        schema::Type,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::error_responses;

const HEADERS: [(&str, &str); 7] = [
    (
        "Access-Control-Allow-Origin",
        "`*`: pages of any origin may read the response.",
    ),
    ("Allow", "The methods of this resource."),
    (
        "Cache-Control",
        "`no-store`, or the lifetime of keys and discovery in a cache.",
    ),
    ("ETag", "Version of the response, for `If-None-Match`."),
    ("Retry-After", "Seconds to wait."),
    (
        "WWW-Authenticate",
        "Scheme of authentication: `Bearer realm=\"api\"`.",
    ),
    ("X-Request-ID", "Id of the request, which the log contains."),
];
const ALWAYS: [&str; 3] = ["Allow", "Cache-Control", "X-Request-ID"];
const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data";

/// Modifier that adds these properties.
pub(super) struct Shared;

impl Modify for Shared {
    fn modify(&self, document: &mut OpenApi) {
        for (path, item) in &mut document.paths.paths {
            for operation in operations(item) {
                forms(operation);
                links(operation);
                for response in operation.responses.responses.values_mut() {
                    if let RefOr::T(response) = response {
                        headers(response);
                        if path.starts_with("/.well-known/") {
                            let name = "Access-Control-Allow-Origin";
                            response.headers.insert(name.to_owned(), header(name));
                        }
                    }
                }
            }
        }
        components(document.components.get_or_insert_default());
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.delete]
        .into_iter()
        .flatten()
}

/// Adds both types of forms to each JSON body.
fn forms(operation: &mut Operation) {
    if let Some(RefOr::T(body)) = &mut operation.request_body
        && let Some(RefOr::T(json)) = body.content.get("application/json").cloned()
    {
        // Names of parts are in a header, which cannot contain control characters (RFC 9110,
        // section 5.5).
        let plain = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(r"^[^\u0000-\u001f\u007f]*$"));
        // Values of a form are text, so `null` is impossible.
        let text = || {
            ObjectBuilder::new()
                .additional_properties(Some(ObjectBuilder::new().schema_type(Type::String)))
        };
        let (mut form, mut multipart) = (json.clone(), json);
        for (content, rest) in [
            (&mut form, text()),
            (&mut multipart, text().property_names(Some(plain))),
        ] {
            content.schema = content
                .schema
                .take()
                .map(|fields| AllOfBuilder::new().item(fields).item(rest).into());
        }
        body.content.insert(FORM.to_owned(), RefOr::T(form));
        body.content
            .insert(MULTIPART.to_owned(), RefOr::T(multipart));
    }
}

fn headers(response: &mut Response) {
    response
        .headers
        .extend(ALWAYS.map(|name| (name.to_owned(), header(name))));
}

/// Returns a reference to a header in the components.
pub(super) fn header(name: &str) -> RefOr<utoipa::openapi::Header> {
    RefOr::Ref(Ref::new(format!("#/components/headers/{name}")))
}

fn components(components: &mut Components) {
    for (name, description) in HEADERS {
        let schema = ObjectBuilder::new().schema_type(if name == "Retry-After" {
            Type::Integer
        } else {
            Type::String
        });
        let header = HeaderBuilder::new()
            .schema(Some(schema))
            .description(Some(description))
            .build();
        components.headers.insert(name.to_owned(), RefOr::T(header));
    }
    for (name, mut response) in error_responses::components() {
        headers(&mut response);
        components
            .responses
            .insert(name.to_owned(), RefOr::T(response));
    }
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT");
    let bearer = bearer
        .description(Some("`Authorization: Bearer …` with an access token."))
        .build();
    components.security_schemes.insert(
        "bearerAuth".to_owned(),
        RefOr::T(SecurityScheme::Http(bearer)),
    );
}

/// Links a token pair to the operations that accept its tokens.
fn links(operation: &mut Operation) {
    let next: &[(&str, Value)] = match operation.operation_id.as_deref() {
        Some("obtain" | "refresh") => &[
            ("refresh", json!({ "refresh": "$response.body#/refresh" })),
            ("verify", json!({ "token": "$response.body#/access" })),
            ("blacklist", json!({ "refresh": "$response.body#/refresh" })),
        ],
        _ => &[],
    };
    if let Some(RefOr::T(response)) = operation.responses.responses.get_mut("200") {
        for (id, body) in next {
            let link = LinkBuilder::new()
                .operation_id(*id)
                .request_body(Some(body.clone()))
                .build();
            response.links.insert((*id).to_owned(), RefOr::T(link));
        }
    }
}
