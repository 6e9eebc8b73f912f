//! `/api/auth/logout/`: dj-rest-auth's `LogoutView`, for clients that keep their refresh token themselves. And
//! `/api/auth/logout/all/`: everywhere.

use actix_web::{
    HttpRequest, HttpResponse,
    http::Method,
    web::{self, Data, Payload},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{RouteTable, method_not_allowed, on, signed_in_first};
use crate::{
    http::{
        bearer, body,
        client_info::client,
        error::HttpError,
        fields::{RawField, Trim, char_field},
        openapi::{error_responses, schemas::LogOut},
        state::State,
    },
    service::ClientInfo,
};

pub(super) fn configure(table: &mut RouteTable) {
    // dj-rest-auth's, which names GET also where its setting makes it a 405.
    table.add("/api/auth/logout", "GET, POST, HEAD, OPTIONS", |resource| {
        resource
            .route(on(Method::POST).to(log_out))
            .default_service(web::route().to(not_a_log_out))
    });
    table.add("/api/auth/logout/all", "POST, OPTIONS", |resource| {
        resource
            .route(on(Method::POST).to(log_out_everywhere))
            .default_service(web::route().to(signed_in_first))
    });
}

/// That it is done.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Done {
    detail: &'static str,
}

/// The refresh token decides. `Authorization` is read only where the body holds no token: a client that logs out often has
/// an access token that expired.
#[utoipa::path(
    post, path = "/api/auth/logout/", tag = "account",
    summary = "Log out",
    description = "dj-rest-auth's view: ends the session of the refresh token. An access token is not needed, and is ignored unless \
         `refresh` is `null`: then the session of the access token ends.",
    request_body = LogOut,
    security((), ("bearerAuth" = [])),
    responses(
        (status = 200, description = "Logged out.", body = Done, example = json!({ "detail": "Successfully logged out." })),
        error_responses::LogOut
    )
)]
pub(in crate::http) async fn log_out(
    request: HttpRequest,
    payload: Payload,
    state: Data<State>,
) -> Result<HttpResponse, HttpError> {
    let client = client(&request);
    let refresh = body::Data::read(&request, payload, &state.settings)
        .await?
        .remove("refresh");
    match refresh {
        RawField::Missing => {
            access_token(&request, &state).await?;
            return Err(HttpError::NoRefreshToken);
        }
        RawField::Null => {
            let access = access_token(&request, &state).await?;
            end_of_access_token(access, state, client).await?;
        }
        // A text that cannot be a token is refused as one.
        input => {
            let token = char_field(input, Trim::Yes).unwrap_or_default();
            state
                .auth
                .log_out(&token, client)
                .await
                .map_err(HttpError::Logout)?;
        }
    }
    Ok(logged_out())
}

async fn not_a_log_out(
    request: HttpRequest,
    state: Data<State>,
) -> Result<HttpResponse, HttpError> {
    access_token(&request, &state).await?;
    method_not_allowed(request).await
}

async fn access_token(request: &HttpRequest, state: &State) -> Result<Option<String>, HttpError> {
    match bearer::token(request, &state.settings.auth_header_types) {
        Ok(token) => {
            state
                .auth
                .authenticate(&token, &client(request))
                .await
                .map_err(HttpError::AccessToken)?;
            Ok(Some(token))
        }
        Err(HttpError::NotAuthenticated) => Ok(None),
        Err(error) => Err(error),
    }
}

/// dj-rest-auth says yes to `null` and does nothing. Where the request says by its access token which session it means,
/// that session ends.
async fn end_of_access_token(
    access: Option<String>,
    state: Data<State>,
    client: ClientInfo,
) -> Result<(), HttpError> {
    match access {
        None => Ok(()),
        Some(token) => state
            .auth
            .log_out_by_access(&token, &client)
            .await
            .map_err(HttpError::AccessToken),
    }
}

#[utoipa::path(
    post, path = "/api/auth/logout/all/", tag = "account",
    summary = "Log out everywhere",
    description = "Ends all sessions of the access token's user, this one as well.",
    security(("bearerAuth" = [])),
    responses(
        (status = 200, description = "Logged out.", body = Done, example = json!({ "detail": "Successfully logged out." })),
        error_responses::Protected
    )
)]
pub(in crate::http) async fn log_out_everywhere(
    request: HttpRequest,
    state: Data<State>,
) -> Result<HttpResponse, HttpError> {
    let token = bearer::token(&request, &state.settings.auth_header_types)?;
    state
        .auth
        .revoke_all_sessions(&token, &client(&request))
        .await
        .map_err(HttpError::AccessToken)?;
    Ok(logged_out())
}

fn logged_out() -> HttpResponse {
    HttpResponse::Ok().json(Done {
        detail: "Successfully logged out.",
    })
}
