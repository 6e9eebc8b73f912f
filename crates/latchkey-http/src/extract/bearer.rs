//! Parser of the `Authorization` header, as in simplejwt. The scheme is case-insensitive (RFC 9110,
//! section 11.1).

use actix_web::{HttpRequest, http::header::AUTHORIZATION};

use crate::error::HttpError;

/// Returns the token of a request.
///
/// # Errors
/// [`HttpError::NotAuthenticated`] without a header of a known scheme,
/// [`HttpError::BadAuthorizationHeader`] without exactly one token.
pub(super) fn token(request: &HttpRequest, schemes: &[String]) -> Result<String, HttpError> {
    let header = request
        .headers()
        .get(AUTHORIZATION)
        .ok_or(HttpError::NotAuthenticated)?;
    // Invalid UTF-8 becomes U+FFFD, which no valid token contains.
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
