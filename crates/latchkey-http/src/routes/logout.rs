//! `/api/auth/logout/`: dj-rest-auth's `LogoutView`, for clients that store their refresh token.
//! `/api/auth/logout/all/`: ends all sessions of the user.

use actix_web::{FromRequest as _, HttpRequest, HttpResponse, http::Method, web::Data};
use serde::Serialize;
use utoipa::ToSchema;

use super::token::tokens;
use crate::{
    endpoint::{Access, Dialect, Endpoint, Limit, route},
    error::HttpError,
    extract::{Auth, Client, Form, OptionalAuth, RawForm},
    fields::{RawField, Trim, char_field},
    openapi::schemas::LogOut,
    state::State,
};
use latchkey_service::TokenDetail::{Blacklisted, Expired, Invalid, WrongType};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        route(Method::POST, "/api/auth/logout")
            .access(Access::Optional)
            .dialect(Dialect::DjRestAuth)
            .limit(Limit::Session)
            // dj-rest-auth lists GET although it is a 405 by default.
            .allow("GET, POST, HEAD, OPTIONS")
            .advertise("logout_endpoint")
            .body::<RawForm>()
            .errors(|| {
                let mut errors = vec![HttpError::NoRefreshToken];
                errors.extend(tokens(&[Invalid, Expired, WrongType, Blacklisted]));
                errors
            })
            .document::<__path_log_out>()
            .handle(log_out),
        route(Method::POST, "/api/auth/logout/all")
            .access(Access::Required)
            .dialect(Dialect::Protected)
            .limit(Limit::Session)
            .advertise("logout_all_endpoint")
            .document::<__path_log_out_everywhere>()
            .handle(log_out_everywhere),
    ]
}

/// Confirmation of a log-out.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Done {
    detail: &'static str,
}

#[utoipa::path(
    post, path = "/api/auth/logout/", tag = "account",
    summary = "Log out",
    description = "Ends the session of the refresh token, as in dj-rest-auth. If `refresh` is `null`, the session of the access token \
         ends. Otherwise, the access token is not needed, and ignored.",
    request_body = LogOut,
    security((), ("bearerAuth" = [])),
    responses(
        (status = 200, description = "Logged out.", body = Done, example = json!({ "detail": "Successfully logged out." })),
    )
)]
/// Ends the session of the refresh token. `Authorization` is read only if the body contains no
/// token, because a client that logs out often has an expired access token.
async fn log_out(
    Form(RawForm(mut data)): Form<RawForm>,
    Client(client): Client,
    request: HttpRequest,
    state: Data<State>,
) -> Result<HttpResponse, HttpError> {
    match data.take("refresh") {
        RawField::Missing => {
            OptionalAuth::extract(&request).await?;
            return Err(HttpError::NoRefreshToken);
        }
        // dj-rest-auth accepts `null` and does nothing. Here, the session of the access token ends.
        RawField::Null => {
            if let OptionalAuth(Some(caller)) = OptionalAuth::extract(&request).await? {
                state.services.own_sessions.end_current(caller).await?;
            }
        }
        // An invalid or blank value is refused like an invalid token.
        field => {
            let token = char_field(field, Trim::Yes).unwrap_or_default();
            state.services.log_out.log_out(&token, client).await?;
        }
    }
    Ok(logged_out())
}

#[utoipa::path(
    post, path = "/api/auth/logout/all/", tag = "account",
    summary = "Log out everywhere",
    description = "Ends all sessions of the access token's user, including the current one.",
    security(("bearerAuth" = [])),
    responses(
        (status = 200, description = "Logged out.", body = Done, example = json!({ "detail": "Successfully logged out." })),
    )
)]
async fn log_out_everywhere(
    Auth(caller): Auth,
    state: Data<State>,
) -> Result<HttpResponse, HttpError> {
    state.services.log_out_everywhere.log_out(caller).await?;
    Ok(logged_out())
}

fn logged_out() -> HttpResponse {
    HttpResponse::Ok().json(Done {
        detail: "Successfully logged out.",
    })
}
