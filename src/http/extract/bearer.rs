//! The `Authorization` header, as simplejwt reads it, with a scheme in any case (RFC 9110, section 11.1).

use actix_web::{HttpRequest, http::header::AUTHORIZATION};

use crate::http::error::HttpError;

/// The token of a request.
pub(super) fn token(request: &HttpRequest, schemes: &[String]) -> Result<String, HttpError> {
    let header = request
        .headers()
        .get(AUTHORIZATION)
        .ok_or(HttpError::NotAuthenticated)?;
    // A byte that is not UTF-8 becomes one that no token has: the token is then refused as any bad one.
    let header = String::from_utf8_lossy(header.as_bytes());
    let mut parts = header.split_whitespace();
    let scheme = parts.next().ok_or(HttpError::NotAuthenticated)?;
    if !schemes
        .iter()
        .any(|known| known.eq_ignore_ascii_case(scheme))
    {
        return Err(HttpError::NotAuthenticated);
    }
    match (parts.next(), parts.next()) {
        (Some(token), None) => Ok(token.to_owned()),
        _ => Err(HttpError::BadAuthorizationHeader),
    }
}
