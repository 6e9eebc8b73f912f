//! What each operation refuses, written as the errors themselves: statuses, bodies and words are those of the one table in
//! `http/error.rs`, so that the document cannot say something else.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::{
    IntoResponses,
    openapi::{
        Content, ContentBuilder, OneOfBuilder, Ref, RefOr, Response, ResponseBuilder,
        example::{Example, ExampleBuilder},
    },
};

use crate::{
    http::error::HttpError,
    service::{Error, TokenDetail},
};

type Answers = BTreeMap<String, RefOr<Response>>;

/// `POST /api/token/`.
pub(in crate::http) struct Obtain;
/// `POST /api/token/refresh/`.
pub(in crate::http) struct Refresh;
/// `POST /api/token/verify/`.
pub(in crate::http) struct Verify;
/// `POST /api/token/blacklist/`.
pub(in crate::http) struct Blacklist;
/// `POST /api/auth/logout/`.
pub(in crate::http) struct LogOut;
/// Whatever asks for an access token and for no body.
pub(in crate::http) struct Protected;
/// One session of those that are the user's own.
pub(in crate::http) struct OwnSession;
/// What is read by everybody.
pub(in crate::http) struct Public;
/// The documents that only an issuer that is a URL has.
pub(in crate::http) struct Discovery;

impl IntoResponses for Obtain {
    fn responses() -> Answers {
        let mut errors = fields(&["username", "password"]);
        errors.extend([Error::BadCredentials, unavailable(), Error::Busy].map(HttpError::Service));
        answers(&errors, &[BODY, ALWAYS])
    }
}

impl IntoResponses for Refresh {
    fn responses() -> Answers {
        let mut errors = fields(&["refresh"]);
        errors.extend(token(&[Invalid, Expired, WrongType, Blacklisted]).map(HttpError::Service));
        errors.push(HttpError::Service(Error::NoActiveAccount));
        answers(&errors, &[BODY, ALWAYS, STORE])
    }
}

impl IntoResponses for Verify {
    fn responses() -> Answers {
        let mut errors = fields(&["token"]);
        errors.extend(token(&[Invalid, Expired, Blacklisted]).map(HttpError::Verify));
        answers(&errors, &[BODY, ALWAYS, STORE])
    }
}

impl IntoResponses for Blacklist {
    fn responses() -> Answers {
        let mut errors = fields(&["refresh"]);
        errors.extend(token(&[Invalid, Expired, WrongType, Blacklisted]).map(HttpError::Service));
        answers(&errors, &[BODY, ALWAYS, STORE])
    }
}

impl IntoResponses for LogOut {
    fn responses() -> Answers {
        let mut errors = body();
        errors.push(HttpError::NoRefreshToken);
        errors.extend(token(&[Invalid, Expired, WrongType, Blacklisted]).map(HttpError::Logout));
        errors.extend([HttpError::BadAuthorizationHeader, access_token()]);
        answers(&errors, &[BODY, ALWAYS, STORE])
    }
}

impl IntoResponses for Protected {
    fn responses() -> Answers {
        answers(&[], &[SIGNED_IN, ALWAYS, STORE])
    }
}

impl IntoResponses for OwnSession {
    fn responses() -> Answers {
        answers(
            &[HttpError::AccessToken(Error::NoSession)],
            &[SIGNED_IN, ALWAYS, STORE],
        )
    }
}

impl IntoResponses for Public {
    fn responses() -> Answers {
        answers(&[], &[ALWAYS])
    }
}

impl IntoResponses for Discovery {
    fn responses() -> Answers {
        answers(&[HttpError::NotFound], &[ALWAYS])
    }
}

/// Answers that several operations share, by status and by their names among the components.
type Shared = &'static [(&'static str, &'static str)];
const ALWAYS: Shared = &[("405", "MethodNotAllowed"), ("500", "InternalServerError")];
const BODY: Shared = &[
    ("408", "BodyTooSlow"),
    ("413", "BodyTooLarge"),
    ("415", "UnsupportedMediaType"),
];
const SIGNED_IN: Shared = &[("401", "NotSignedIn")];
const STORE: Shared = &[("503", "Unavailable")];

/// What these names stand for.
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
    .map(|(name, errors)| (name, answer(&errors.iter().collect::<Vec<_>>())))
}

use TokenDetail::{Blacklisted, Expired, Invalid, WrongType};

fn token<const N: usize>(details: &[TokenDetail; N]) -> [Error; N] {
    details.map(|detail| Error::token(detail, ""))
}

fn access_token() -> HttpError {
    HttpError::AccessToken(Error::token(Invalid, ""))
}

fn not_signed_in() -> Vec<HttpError> {
    let mut errors = vec![
        HttpError::NotAuthenticated,
        HttpError::BadAuthorizationHeader,
        access_token(),
    ];
    errors.extend([Error::UserInactive, Error::UserNotFound].map(HttpError::AccessToken));
    errors
}

fn unavailable() -> Error {
    Error::Unavailable(String::new())
}

/// What is wrong with a body as a whole.
fn body() -> Vec<HttpError> {
    vec![
        HttpError::Json("the text ends too early: line 1 column 1".to_owned()),
        HttpError::InvalidData("list"),
        HttpError::NoData,
        HttpError::Multipart("Invalid boundary in multipart: None"),
    ]
}

/// And with its fields.
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

fn answers(errors: &[HttpError], shared: &[Shared]) -> Answers {
    let mut by_status: BTreeMap<String, Vec<&HttpError>> = BTreeMap::new();
    for error in errors {
        by_status
            .entry(error.answer().0.as_str().to_owned())
            .or_default()
            .push(error);
    }
    let own = by_status
        .into_iter()
        .map(|(status, errors)| (status, RefOr::T(answer(&errors))));
    let shared = shared.iter().copied().flatten();
    own.chain(shared.map(|(status, name)| {
        (
            (*status).to_owned(),
            RefOr::Ref(Ref::from_response_name(*name)),
        )
    }))
    .collect()
}

/// One status with an example of each error.
fn answer(errors: &[&HttpError]) -> Response {
    let bodies: Vec<Value> = errors.iter().map(|error| error.answer().1).collect();
    let mut shapes: Vec<_> = bodies.iter().map(shape).collect();
    shapes.sort_unstable();
    shapes.dedup();
    let examples = bodies.into_iter().map(|body| (key(&body), example(body)));
    let status = errors.first().map_or(0, |error| error.answer().0.as_u16());
    let content = content(&shapes).examples_from_iter(examples).build();
    let mut response = ResponseBuilder::new()
        .description(description(status))
        .content("application/json", content)
        .build();
    let headers = [
        ("Retry-After", status == 503),
        (
            "WWW-Authenticate",
            status == 401 && errors.iter().any(|error| error.challenges()),
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

/// A name for an example: its words, in the way that names are written.
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
        400 => "The body cannot be read, or what it says is not valid.",
        401 => "Refused: `detail` says why.",
        404 => "There is no such thing here.",
        405 => "Any method but those in `Allow`. A protected resource asks first who that is.",
        408 => "The body did not arrive in time.",
        413 => "The body is larger than `LATCHKEY_BODY_LIMIT`.",
        415 => {
            "A body of another type than these three, or one that is packed. An empty body is no body."
        }
        500 => "Something broke that no request should break. The log says what.",
        503 => "A server that is needed cannot be reached, or there is too much to do.",
        _ => "Refused.",
    }
}
