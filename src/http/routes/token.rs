//! `/api/token/…`: simplejwt's four views.

use actix_web::{
    HttpRequest, HttpResponse,
    body::MessageBody,
    http::header::{self, HeaderValue},
    web::{Data, Payload},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::RouteTable;
use crate::{
    domain::password::Password,
    http::{
        body,
        client_info::client,
        error::HttpError,
        fields::Trim,
        openapi::{
            error_responses,
            schemas::{AnyToken, Credentials, RefreshToken},
        },
        state::State,
    },
    service::{Error, TokenPair},
};

/// What clients ask for again and again.
pub(super) fn configure_frequent(table: &mut RouteTable) {
    table.post("/api/token/verify", verify);
    table.post("/api/token/refresh", refresh);
}

/// What they ask for once.
pub(super) fn configure_rare(table: &mut RouteTable) {
    table.post("/api/token", obtain);
    table.post("/api/token/blacklist", blacklist);
}

/// simplejwt's order: refresh before access.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(description = "A pair of tokens.")]
struct Obtained {
    #[schema(value_type = String, required = true)]
    refresh: Option<String>,
    access: String,
}

/// simplejwt's order: access before refresh.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(
    description = "The next pair of tokens; without `refresh` where `ROTATE_REFRESH_TOKENS` is off."
)]
struct Refreshed {
    access: String,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<String>,
}

/// Yes.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Empty {}

impl Obtained {
    /// The JSON text, which is only copied together: base64url and dots are nothing that JSON escapes.
    fn text(&self) -> String {
        match &self.refresh {
            Some(refresh) => [
                "{\"refresh\":\"",
                refresh,
                "\",\"access\":\"",
                &self.access,
                "\"}",
            ]
            .concat(),
            None => ["{\"refresh\":null,\"access\":\"", &self.access, "\"}"].concat(),
        }
    }
}

impl Refreshed {
    /// As [`Obtained::text`].
    fn text(&self) -> String {
        match &self.refresh {
            Some(refresh) => [
                "{\"access\":\"",
                &self.access,
                "\",\"refresh\":\"",
                refresh,
                "\"}",
            ]
            .concat(),
            None => ["{\"access\":\"", &self.access, "\"}"].concat(),
        }
    }
}

fn ok(body: impl MessageBody + 'static) -> HttpResponse {
    let json = (
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    HttpResponse::Ok().append_header(json).body(body)
}

#[utoipa::path(
    post, path = "/api/token/", tag = "tokens",
    summary = "Sign in",
    description = "A name and a password become a pair of tokens and a session. Unknown, wrong and inactive are one answer.",
    request_body = Credentials,
    responses(
        (status = 200, description = "Signed in.", body = Obtained,
            example = json!({ "refresh": "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl", "access": "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl" })),
        error_responses::Obtain
    )
)]
pub(in crate::http) async fn obtain(
    request: HttpRequest,
    payload: Payload,
    state: Data<State>,
) -> Result<HttpResponse, HttpError> {
    let data = body::Data::read(&request, payload, &state.settings).await?;
    let [username, password] = data.take([("username", Trim::Yes), ("password", Trim::No)])?;
    let password =
        Password::parse(password).map_err(|_| HttpError::Service(Error::BadCredentials))?;
    let client = client(&request);
    // Not to the end: its writes are whole each by itself, and nobody hashes for a client that has gone.
    let TokenPair { access, refresh } = state.auth.obtain(&username, password, client).await?;
    Ok(ok(Obtained { refresh, access }.text()))
}

#[utoipa::path(
    post, path = "/api/token/refresh/", tag = "tokens",
    summary = "Exchange a refresh token for the next pair",
    description = "A refresh token can be used once. Within the grace, the same client gets the same pair again. \
         Later, or from elsewhere, reuse ends the session.",
    request_body = RefreshToken,
    responses(
        (status = 200, description = "The next pair.", body = Refreshed,
            example = json!({ "access": "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl", "refresh": "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl" })),
        error_responses::Refresh
    )
)]
pub(in crate::http) async fn refresh(
    request: HttpRequest,
    payload: Payload,
    state: Data<State>,
) -> Result<HttpResponse, HttpError> {
    let data = body::Data::read(&request, payload, &state.settings).await?;
    let [token] = data.take([("refresh", Trim::Yes)])?;
    let TokenPair { access, refresh } = state.auth.refresh(&token, client(&request)).await?;
    Ok(ok(Refreshed { access, refresh }.text()))
}

#[utoipa::path(
    post, path = "/api/token/verify/", tag = "tokens",
    summary = "Ask whether a token is good",
    description = "Of any kind. One that was revoked is a 400, as in simplejwt, and one that is no good otherwise a 401.",
    request_body = AnyToken,
    responses((status = 200, description = "It is good.", body = Empty, example = json!({})), error_responses::Verify)
)]
pub(in crate::http) async fn verify(
    request: HttpRequest,
    payload: Payload,
    state: Data<State>,
) -> Result<HttpResponse, HttpError> {
    let data = body::Data::read(&request, payload, &state.settings).await?;
    let [token] = data.take([("token", Trim::Yes)])?;
    state
        .auth
        .verify(&token, &client(&request))
        .await
        .map_err(HttpError::Verify)?;
    Ok(ok("{}"))
}

#[utoipa::path(
    post, path = "/api/token/blacklist/", tag = "tokens",
    summary = "End the session of a refresh token",
    description = "With all its tokens, access tokens as well.",
    request_body = RefreshToken,
    responses((status = 200, description = "It has ended.", body = Empty, example = json!({})), error_responses::Blacklist)
)]
pub(in crate::http) async fn blacklist(
    request: HttpRequest,
    payload: Payload,
    state: Data<State>,
) -> Result<HttpResponse, HttpError> {
    let data = body::Data::read(&request, payload, &state.settings).await?;
    let [token] = data.take([("refresh", Trim::Yes)])?;
    state.auth.log_out(&token, client(&request)).await?;
    Ok(ok("{}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_what_its_shape_says() {
        let access = "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0-_Jl".to_owned();
        for refresh in [None, Some("eyJhbGciOiJIUzI1NiJ9.e30.c2ln-_RJl".to_owned())] {
            let obtained = Obtained {
                refresh: refresh.clone(),
                access: access.clone(),
            };
            assert_eq!(obtained.text(), serde_json::to_string(&obtained).unwrap());
            let refreshed = Refreshed {
                access: access.clone(),
                refresh,
            };
            assert_eq!(refreshed.text(), serde_json::to_string(&refreshed).unwrap());
        }
    }
}
