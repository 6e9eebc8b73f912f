//! Error responses of each operation. Statuses, bodies and texts come from the table in
//! `error.rs` of this crate, so the document cannot differ from it.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::openapi::{
    Content, ContentBuilder, OneOfBuilder, Ref, RefOr, Response, ResponseBuilder,
    example::{Example, ExampleBuilder},
};

use crate::{
    endpoint::{Access, Dialect, Endpoint, Limit},
    error::HttpError,
};
use latchkey_service::{Error, TokenDetail};

type ErrorResponses = BTreeMap<String, RefOr<Response>>;

/// Returns the error responses of an endpoint, by status.
pub(super) fn of(endpoint: &Endpoint) -> ErrorResponses {
    let mut errors = Vec::new();
    let mut shared = vec![ALWAYS];
    if let Some(names) = endpoint.fields {
        errors.extend(if names.is_empty() {
            body()
        } else {
            fields(names)
        });
        shared.push(BODY);
    }
    errors.extend((endpoint.errors)());
    match endpoint.access {
        Access::Public => {}
        Access::Optional => {
            errors.extend([HttpError::BadAuthorizationHeader, bad_access_token()]);
        }
        Access::Required => shared.push(SIGNED_IN),
    }
    match endpoint.limit {
        Limit::Unlimited => {}
        Limit::SignIn => errors.extend([unavailable(), Error::Busy].map(HttpError::Service)),
        Limit::Session => shared.push(STORE),
    }
    answers(&errors, &shared, endpoint.dialect)
}

/// Statuses and component names of responses that several operations share.
type Shared = &'static [(&'static str, &'static str)];
const ALWAYS: Shared = &[("405", "MethodNotAllowed"), ("500", "InternalServerError")];
const BODY: Shared = &[
    ("408", "BodyTooSlow"),
    ("413", "BodyTooLarge"),
    ("415", "UnsupportedMediaType"),
];
const SIGNED_IN: Shared = &[("401", "NotSignedIn")];
const STORE: Shared = &[("503", "Unavailable")];

/// Returns the shared responses by their component names.
pub(super) fn components() -> impl Iterator<Item = (&'static str, Response)> {
    [
        ("BodyTooLarge", vec![HttpError::BodyTooLarge]),
        ("BodyTooSlow", vec![HttpError::BodyTooSlow]),
        (
            "InternalServerError",
            vec![HttpError::Service(Error::Internal(String::new()))],
        ),
        (
            "MethodNotAllowed",
            vec![HttpError::MethodNotAllowed("PATCH".to_owned())],
        ),
        ("NotSignedIn", not_signed_in()),
        ("Unavailable", vec![HttpError::Service(unavailable())]),
        (
            "UnsupportedMediaType",
            vec![HttpError::UnsupportedMediaType("text/plain".to_owned())],
        ),
    ]
    .into_iter()
    .map(|(name, errors)| {
        let errors: Vec<_> = errors.iter().collect();
        (name, answer(&errors, Dialect::Simplejwt))
    })
}

fn bad_access_token() -> HttpError {
    HttpError::Authentication(Error::token(TokenDetail::Invalid, ""))
}

fn not_signed_in() -> Vec<HttpError> {
    let mut errors = vec![
        HttpError::NotAuthenticated,
        HttpError::BadAuthorizationHeader,
        bad_access_token(),
    ];
    errors.extend([Error::UserInactive, Error::UserNotFound].map(HttpError::Authentication));
    errors
}

fn unavailable() -> Error {
    Error::Unavailable(String::new())
}

/// Returns the errors of a body as a whole.
fn body() -> Vec<HttpError> {
    vec![
        HttpError::Json("the text ends too early: line 1 column 1".to_owned()),
        HttpError::InvalidData("list"),
        HttpError::NoData,
        HttpError::Multipart("Invalid boundary in multipart: None"),
    ]
}

/// Returns the errors of a body with these fields.
fn fields(names: &[&'static str]) -> Vec<HttpError> {
    let all = |text: &str| {
        HttpError::Fields(
            names
                .iter()
                .map(|name| (*name, vec![text.to_owned()]))
                .collect(),
        )
    };
    let mut errors = body();
    errors.extend(["This field is required.", "This field may not be blank."].map(all));
    errors
}

fn answers(errors: &[HttpError], shared: &[Shared], dialect: Dialect) -> ErrorResponses {
    let mut by_status: BTreeMap<String, Vec<&HttpError>> = BTreeMap::new();
    for error in errors {
        by_status
            .entry(error.answer(dialect).0.as_str().to_owned())
            .or_default()
            .push(error);
    }
    let own = by_status
        .into_iter()
        .map(|(status, errors)| (status, RefOr::T(answer(&errors, dialect))));
    let shared = shared.iter().copied().flatten();
    own.chain(shared.map(|(status, name)| {
        (
            (*status).to_owned(),
            RefOr::Ref(Ref::from_response_name(*name)),
        )
    }))
    .collect()
}

/// Returns the response of one status, with an example of each error.
fn answer(errors: &[&HttpError], dialect: Dialect) -> Response {
    let bodies: Vec<Value> = errors.iter().map(|error| error.answer(dialect).1).collect();
    let mut shapes: Vec<_> = bodies.iter().map(shape).collect();
    shapes.sort_unstable();
    shapes.dedup();
    let examples = bodies.into_iter().map(|body| (key(&body), example(body)));
    let status = errors
        .first()
        .map_or(0, |error| error.answer(dialect).0.as_u16());
    let content = content(&shapes).examples_from_iter(examples).build();
    let mut response = ResponseBuilder::new()
        .description(description(status))
        .content("application/json", content)
        .build();
    let headers = [
        ("Retry-After", status == 503),
        (
            "WWW-Authenticate",
            status == 401 && errors.iter().any(|error| error.challenges(dialect)),
        ),
    ];
    for (name, _) in headers.into_iter().filter(|(_, sent)| *sent) {
        response
            .headers
            .insert(name.to_owned(), super::modifiers::header(name));
    }
    response
}

fn content(shapes: &[&'static str]) -> ContentBuilder {
    let content = ContentBuilder::from(Content::default());
    match shapes {
        [shape] => content.schema(Some(Ref::from_schema_name(*shape))),
        shapes => {
            let one_of = OneOfBuilder::new();
            content.schema(Some(
                shapes
                    .iter()
                    .fold(one_of, |all, shape| all.item(Ref::from_schema_name(*shape))),
            ))
        }
    }
}

fn shape(body: &Value) -> &'static str {
    match (body.get("messages"), body.get("code"), body.get("detail")) {
        (Some(_), ..) => "TokenNotValid",
        (_, Some(_), _) => "CodedDetail",
        (_, _, Some(_)) => "Detail",
        _ => "FieldErrors",
    }
}

/// Returns the name of an example: the first eight words of its message, joined by underscores.
fn key(body: &Value) -> String {
    let text = body
        .get("detail")
        .and_then(Value::as_str)
        .or_else(|| body.as_object()?.values().next()?.get(0)?.as_str());
    let text = text.unwrap_or_default().to_lowercase();
    let words = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    words.take(8).collect::<Vec<_>>().join("_")
}

fn example(body: Value) -> Example {
    ExampleBuilder::new().value(Some(body)).build()
}

const fn description(status: u16) -> &'static str {
    match status {
        400 => "The body cannot be read, or its content is not valid.",
        401 => "Not authenticated, or the token is refused. `detail` is the reason.",
        404 => "Not found, or not enabled.",
        405 => "The method is not in `Allow`. A protected resource checks the access token first.",
        408 => "The body did not arrive in time.",
        413 => "The body is larger than `LATCHKEY_BODY_LIMIT`.",
        415 => {
            "The content type or the charset is not supported, or the body is compressed. The type of an empty body is ignored."
        }
        500 => "Internal error. The log contains the cause.",
        503 => "A required server is unavailable, or too many requests are in progress.",
        _ => "Refused.",
    }
}
