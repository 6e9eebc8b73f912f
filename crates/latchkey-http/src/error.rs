//! Error responses: the only table of codes and statuses, with their texts. Those of a field are in
//! `fields.rs`. No text of a library is sent to a client. A 503 is `Busy` (the password hasher and its admission), `Overloaded`
//! (admission and the queues of the database) or `Unavailable` (a store). Only `/health/ready` has
//! its own.

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
};
use serde_json::{Map, Value, json};

use super::endpoint::Dialect;
use latchkey_service::{Error, TokenDetail};

/// Error that is sent to a client.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The access token of the request is refused. The response does not depend on the endpoint's
    /// dialect.
    #[error(transparent)]
    Authentication(Error),
    /// `Authorization` is not a scheme and exactly one value.
    #[error("bad authorization header")]
    BadAuthorizationHeader,
    /// The request is not HTTP, or its body cannot be read.
    #[error("bad request")]
    BadRequest,
    /// The body exceeds the limit.
    #[error("body too large")]
    BodyTooLarge,
    /// The body did not arrive in time.
    #[error("body too slow")]
    BodyTooSlow,
    /// Missing or wrong fields, in the order of the view.
    #[error("bad fields")]
    Fields(Vec<(&'static str, Vec<String>)>),
    /// The head of a request exceeds the limit.
    #[error("head too large")]
    HeadTooLarge,
    /// The head of a request did not arrive in time.
    #[error("head too slow")]
    HeadTooSlow,
    /// The body is JSON, but not an object. Holds the name of its type in Python.
    #[error("the body is not an object")]
    InvalidData(&'static str),
    /// The body is not JSON.
    #[error("bad JSON")]
    Json(String),
    /// The resource does not support the method.
    #[error("method not allowed")]
    MethodNotAllowed(String),
    /// The body is not a valid multipart form.
    #[error("bad multipart")]
    Multipart(&'static str),
    /// The body is `null`.
    #[error("no data")]
    NoData,
    /// The body of dj-rest-auth's log-out has no refresh token.
    #[error("no refresh token")]
    NoRefreshToken,
    /// No `Authorization` header with a supported scheme.
    #[error("not authenticated")]
    NotAuthenticated,
    /// No such resource.
    #[error("not found")]
    NotFound,
    /// A use case refused the request or failed.
    #[error(transparent)]
    Service(Error),
    /// The path and the query together exceed the limit.
    #[error("URI too long")]
    UriTooLong,
    /// The content type, content encoding or charset is not supported.
    #[error("unsupported media type")]
    UnsupportedMediaType(String),
}

/// Value of `Retry-After`, in seconds.
const RETRY_AFTER_SECONDS: u32 = 1;

impl HttpError {
    /// Returns the label for logs and metrics.
    pub(super) const fn cause(&self) -> &'static str {
        match self {
            Self::Authentication(error) | Self::Service(error) => error.cause(),
            Self::BadAuthorizationHeader => "bad_authorization_header",
            Self::BadRequest => "bad_request",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTooSlow => "body_too_slow",
            Self::Fields(_) => "bad_fields",
            Self::HeadTooLarge => "head_too_large",
            Self::HeadTooSlow => "head_too_slow",
            Self::InvalidData(_) | Self::NoData => "bad_data",
            Self::Json(_) => "bad_json",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::Multipart(_) => "bad_multipart",
            Self::NoRefreshToken => "no_refresh_token",
            Self::NotAuthenticated => "not_authenticated",
            Self::NotFound => "not_found",
            Self::UnsupportedMediaType(_) => "unsupported_media_type",
            Self::UriTooLong => "uri_too_long",
        }
    }

    /// Returns true if a 401 has a `WWW-Authenticate` header. In dj-rest-auth's dialect, it has one
    /// only if the `Authorization` header was refused.
    pub(super) fn challenges(&self, dialect: Dialect) -> bool {
        dialect != Dialect::DjRestAuth || !matches!(self, Self::Service(_) | Self::NoRefreshToken)
    }

    /// Returns the failure of the service, if it is one. It is only logged.
    pub(super) fn internal(&self) -> Option<&Error> {
        match self {
            Self::Authentication(error) | Self::Service(error)
                if matches!(error, Error::Internal(_) | Error::Unavailable(_)) =>
            {
                Some(error)
            }
            _ => None,
        }
    }

    /// Returns the response in the dialect of the endpoint.
    pub(super) fn response(&self, dialect: Dialect) -> HttpResponse {
        let (status, body) = self.answer(dialect);
        let mut response = HttpResponse::build(status).json(body);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        response
    }

    /// Returns the status and the body.
    pub(super) fn answer(&self, dialect: Dialect) -> (StatusCode, Value) {
        match self {
            Self::Authentication(error) => service(error, Dialect::Protected),
            Self::Service(error) => service(error, dialect),
            Self::BadAuthorizationHeader => coded(
                StatusCode::UNAUTHORIZED,
                "Authorization header must contain two space-delimited values",
                "bad_authorization_header",
            ),
            Self::BadRequest => detail(StatusCode::BAD_REQUEST, "Bad request."),
            Self::BodyTooLarge => {
                detail(StatusCode::PAYLOAD_TOO_LARGE, "Request body is too large.")
            }
            Self::BodyTooSlow => detail(
                StatusCode::REQUEST_TIMEOUT,
                "Request body did not arrive in time.",
            ),
            Self::Fields(fields) => {
                let fields: Map<String, Value> = fields
                    .iter()
                    .map(|(name, texts)| ((*name).to_owned(), json!(texts)))
                    .collect();
                (StatusCode::BAD_REQUEST, Value::Object(fields))
            }
            Self::HeadTooLarge => detail(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "Request header is too large.",
            ),
            Self::HeadTooSlow => detail(
                StatusCode::REQUEST_TIMEOUT,
                "Request header did not arrive in time.",
            ),
            Self::InvalidData(kind) => {
                let text = format!("Invalid data. Expected a dictionary, but got {kind}.");
                (StatusCode::BAD_REQUEST, non_field(&text))
            }
            Self::Json(text) => detail(
                StatusCode::BAD_REQUEST,
                &format!("JSON parse error - {text}"),
            ),
            Self::MethodNotAllowed(method) => detail(
                StatusCode::METHOD_NOT_ALLOWED,
                &format!("Method \"{method}\" not allowed."),
            ),
            Self::Multipart(text) => detail(
                StatusCode::BAD_REQUEST,
                &format!("Multipart form parse error - {text}"),
            ),
            Self::NoData => (StatusCode::BAD_REQUEST, non_field("No data provided")),
            Self::NoRefreshToken => detail(
                StatusCode::UNAUTHORIZED,
                "Refresh token was not included in request data.",
            ),
            Self::NotAuthenticated => detail(
                StatusCode::UNAUTHORIZED,
                "Authentication credentials were not provided.",
            ),
            Self::NotFound => detail(StatusCode::NOT_FOUND, "Not found."),
            Self::UriTooLong => detail(StatusCode::URI_TOO_LONG, "Request URI is too long."),
            Self::UnsupportedMediaType(media_type) => detail(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                &format!("Unsupported media type \"{media_type}\" in request."),
            ),
        }
    }
}

fn service(error: &Error, dialect: Dialect) -> (StatusCode, Value) {
    match error {
        Error::BadCredentials => detail(
            StatusCode::UNAUTHORIZED,
            "No active account found with the given credentials",
        ),
        Error::Busy => detail(
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many sign-ins at once. Try again shortly.",
        ),
        Error::Internal(_) => detail(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error."),
        Error::NoActiveAccount => detail(
            StatusCode::UNAUTHORIZED,
            "No active account found for the given token.",
        ),
        Error::NoSession => detail(StatusCode::NOT_FOUND, "Not found."),
        Error::NoUserIdentification => coded(
            StatusCode::UNAUTHORIZED,
            "Token contained no recognizable user identification",
            "token_not_valid",
        ),
        Error::Token { detail, .. } => refused_token(*detail, dialect),
        Error::Overloaded | Error::Unavailable(_) => detail(
            StatusCode::SERVICE_UNAVAILABLE,
            "Service temporarily unavailable. Try again shortly.",
        ),
        Error::UserInactive => coded(
            StatusCode::UNAUTHORIZED,
            "User is inactive",
            "user_inactive",
        ),
        Error::UserNotFound => coded(StatusCode::UNAUTHORIZED, "User not found", "user_not_found"),
    }
}

fn refused_token(refusal: TokenDetail, dialect: Dialect) -> (StatusCode, Value) {
    let text = token_text(refusal);
    match (dialect, refusal) {
        (Dialect::Verify, TokenDetail::Blacklisted) => (StatusCode::BAD_REQUEST, non_field(text)),
        (Dialect::Simplejwt | Dialect::Verify, _) => {
            coded(StatusCode::UNAUTHORIZED, text, "token_not_valid")
        }
        (Dialect::Protected, _) => (StatusCode::UNAUTHORIZED, access_token(refusal)),
        (Dialect::DjRestAuth, _) => detail(StatusCode::UNAUTHORIZED, text),
    }
}

const fn token_text(detail: TokenDetail) -> &'static str {
    match detail {
        TokenDetail::Blacklisted => "Token is blacklisted",
        TokenDetail::Expired => "Token is expired",
        TokenDetail::Invalid => "Token is invalid",
        TokenDetail::NoExpiry => "Token has no 'exp' claim",
        TokenDetail::NoId => "Token has no id",
        TokenDetail::NoType => "Token has no type",
        TokenDetail::WrongType => "Token has wrong type",
    }
}

/// Returns the body of `InvalidToken` in simplejwt's `JWTAuthentication`.
fn access_token(detail: TokenDetail) -> Value {
    json!({
        "detail": "Given token not valid for any token type",
        "code": "token_not_valid",
        "messages": [{ "token_class": "AccessToken", "token_type": "access", "message": token_text(detail) }],
    })
}

fn detail(status: StatusCode, text: &str) -> (StatusCode, Value) {
    (status, json!({ "detail": text }))
}

fn coded(status: StatusCode, text: &str, code: &str) -> (StatusCode, Value) {
    (status, json!({ "detail": text, "code": code }))
}

fn non_field(text: &str) -> Value {
    json!({ "non_field_errors": [text] })
}

/// Generates a response without a body. The middleware replaces it, because only the request knows
/// the endpoint's dialect.
impl ResponseError for HttpError {
    fn status_code(&self) -> StatusCode {
        self.answer(Dialect::Simplejwt).0
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}

impl From<Error> for HttpError {
    fn from(error: Error) -> Self {
        Self::Service(error)
    }
}
