//! `/api/token/…`: the four views of simplejwt.

use actix_web::{
    HttpResponse,
    body::MessageBody,
    http::{
        Method,
        header::{self, HeaderValue},
    },
    web::Data,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    endpoint::{Dialect, Endpoint, Limit, route},
    error::HttpError,
    extract::{Client, Form, form},
    state::State,
};
use latchkey_domain::password::Password;
use latchkey_service::{
    Error,
    TokenDetail::{self, Blacklisted, Expired, Invalid, WrongType},
    TokenPair,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        route(Method::POST, "/api/token/verify")
            .dialect(Dialect::Verify)
            .limit(Limit::Session)
            .advertise("token_verify_endpoint")
            .body::<AnyToken>()
            .errors(|| tokens(&[Invalid, Expired, Blacklisted]))
            .document::<__path_verify>()
            .handle(verify),
        route(Method::POST, "/api/token/refresh")
            .limit(Limit::Session)
            .advertise("token_refresh_endpoint")
            .body::<RefreshToken>()
            .errors(|| {
                let mut errors = tokens(&[Invalid, Expired, WrongType, Blacklisted]);
                errors.push(Error::NoActiveAccount.into());
                errors
            })
            .document::<__path_refresh>()
            .handle(refresh),
        route(Method::POST, "/api/token")
            .limit(Limit::SignIn)
            .advertise("token_obtain_endpoint")
            .body::<Credentials>()
            .errors(|| vec![Error::BadCredentials.into()])
            .document::<__path_obtain>()
            .handle(obtain),
        route(Method::POST, "/api/token/blacklist")
            .limit(Limit::Session)
            .advertise("token_blacklist_endpoint")
            .body::<RefreshToken>()
            .errors(|| tokens(&[Invalid, Expired, WrongType, Blacklisted]))
            .document::<__path_blacklist>()
            .handle(blacklist),
    ]
}

/// Returns the errors of a token in the body.
pub(super) fn tokens(details: &[TokenDetail]) -> Vec<HttpError> {
    let error = |detail: &TokenDetail| Error::token(*detail, "").into();
    details.iter().map(error).collect()
}

form! {
    /// User name and password.
    Credentials {
        /// Surrounding white space is removed.
        username: Text(example = "ada"),
        /// Compared exactly as sent.
        password: Verbatim(format = Password, example = "correct horse battery staple"),
    }
}

form! {
    /// Body with a refresh token.
    RefreshToken {
        /// Current refresh token of the session, or within the reuse grace the one before it.
        refresh: Text(example = "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"),
    }
}

form! {
    /// Body with a token of any type.
    AnyToken {
        /// Access token or refresh token.
        token: Text(example = "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl"),
    }
}

/// Members in simplejwt's order: refresh before access.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(description = "Token pair.")]
struct Obtained {
    #[schema(value_type = String, required = true)]
    refresh: Option<String>,
    access: String,
}

/// Members in simplejwt's order: access before refresh.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(
    description = "The next token pair. `refresh` is absent if `ROTATE_REFRESH_TOKENS` is off."
)]
struct Refreshed {
    access: String,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<String>,
}

/// Empty object.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Empty {}

impl Obtained {
    /// Returns the JSON text. It can be concatenated, because tokens need no escapes in JSON.
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
    /// Returns the JSON text, as [`Obtained::text`].
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
    description = "Exchanges a user name and a password for a token pair, and creates a session. Unknown user, wrong password and \
         inactive user have the same response.",
    request_body = Credentials,
    responses(
        (status = 200, description = "Signed in.", body = Obtained,
            example = json!({ "refresh": "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl", "access": "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl" })),
    )
)]
async fn obtain(
    Form(Credentials { username, password }): Form<Credentials>,
    Client(client): Client,
    state: Data<State>,
) -> Result<HttpResponse, HttpError> {
    let password = Password::parse(password.0).map_err(|_| Error::BadCredentials)?;
    // The future may be dropped: each write is atomic, and no password is hashed for a disconnected
    // client.
    let TokenPair { access, refresh } = state
        .services
        .sign_in
        .obtain(&username, password, client)
        .await?;
    Ok(ok(Obtained { refresh, access }.text()))
}

#[utoipa::path(
    post, path = "/api/token/refresh/", tag = "tokens",
    summary = "Exchange a refresh token for the next token pair",
    description = "A refresh token can be used once. Within the reuse grace, the same client receives the same pair again. \
         Reuse after the grace, or by another client, ends the session.",
    request_body = RefreshToken,
    responses(
        (status = 200, description = "The next pair.", body = Refreshed,
            example = json!({ "access": "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl", "refresh": "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl" })),
    )
)]
async fn refresh(
    Form(RefreshToken { refresh: token }): Form<RefreshToken>,
    Client(client): Client,
    state: Data<State>,
) -> Result<HttpResponse, HttpError> {
    let TokenPair { access, refresh } = state.services.refresh.refresh(&token, client).await?;
    Ok(ok(Refreshed { access, refresh }.text()))
}

#[utoipa::path(
    post, path = "/api/token/verify/", tag = "tokens",
    summary = "Verify a token",
    description = "Accepts access and refresh tokens. As in simplejwt, a revoked token is a 400, and any other invalid token is a 401.",
    request_body = AnyToken,
    responses((status = 200, description = "The token is valid.", body = Empty, example = json!({})))
)]
async fn verify(
    Form(AnyToken { token }): Form<AnyToken>,
    Client(client): Client,
    state: Data<State>,
) -> Result<HttpResponse, HttpError> {
    state.services.verify.verify(&token, client).await?;
    Ok(ok("{}"))
}

#[utoipa::path(
    post, path = "/api/token/blacklist/", tag = "tokens",
    summary = "End the session of a refresh token",
    description = "Revokes all tokens of the session, including access tokens.",
    request_body = RefreshToken,
    responses((status = 200, description = "The session has ended.", body = Empty, example = json!({})))
)]
async fn blacklist(
    Form(RefreshToken { refresh }): Form<RefreshToken>,
    Client(client): Client,
    state: Data<State>,
) -> Result<HttpResponse, HttpError> {
    state.services.log_out.log_out(&refresh, client).await?;
    Ok(ok("{}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_the_same_as_the_serialized_struct() {
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
