//! `/api/auth/sessions/`: where the user is signed in, and the end of one of these sign-ins.

use actix_web::{
    HttpRequest, HttpResponse,
    http::Method,
    web::{self, Data},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{RouteTable, on, read, signed_in_first};
use crate::{
    domain::time::Moment,
    http::{bearer, client_info::client, error::HttpError, openapi::error_responses, state::State},
    service::OwnSession,
};

pub(super) fn configure(table: &mut RouteTable) {
    table.add("/api/auth/sessions", "GET, HEAD, OPTIONS", |resource| {
        read(resource, list).default_service(web::route().to(signed_in_first))
    });
    table.add("/api/auth/sessions/{id}", "DELETE, OPTIONS", |resource| {
        resource
            .route(on(Method::DELETE).to(end))
            .default_service(web::route().to(signed_in_first))
    });
}

/// One sign-in. Moments are in UTC (RFC 3339), as Django REST framework writes them.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SessionDetails {
    /// The claim `sid`.
    #[schema(format = "uuid")]
    id: String,
    /// Whether it is the session of the access token that asks.
    current: bool,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    last_used_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
    /// Of the sign-in or the last refresh.
    #[schema(required = true)]
    ip: Option<String>,
    /// Of the sign-in or the last refresh.
    #[schema(required = true)]
    user_agent: Option<String>,
}

impl From<OwnSession> for SessionDetails {
    fn from(OwnSession { session, current }: OwnSession) -> Self {
        let text = |moment: Moment| moment.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        Self {
            id: session.id.to_string(),
            current,
            created_at: text(session.created_at),
            last_used_at: text(session.rotated_at),
            expires_at: text(session.expires_at),
            ip: session.last_ip,
            user_agent: session.user_agent,
        }
    }
}

#[utoipa::path(
    get, path = "/api/auth/sessions/", tag = "account", operation_id = "list_sessions",
    summary = "Where the user is signed in",
    description = "The live sessions of the access token's user, the newest first.",
    security(("bearerAuth" = [])),
    responses(
        (status = 200, description = "The sessions.", body = [SessionDetails],
            example = json!([{
                "id": "9b2f1c1e-4f4c-4a55-8d0a-5f0a3c1d2e3f", "current": true,
                "created_at": "2026-01-31T12:00:00.000000Z", "last_used_at": "2026-01-31T12:00:00.000000Z",
                "expires_at": "2026-02-01T12:00:00.000000Z", "ip": "192.0.2.7", "user_agent": null
            }])),
        error_responses::Protected
    )
)]
pub(in crate::http) async fn list(
    request: HttpRequest,
    state: Data<State>,
) -> Result<HttpResponse, HttpError> {
    let token = bearer::token(&request, &state.settings.auth_header_types)?;
    let sessions = state
        .auth
        .sessions(&token, &client(&request))
        .await
        .map_err(HttpError::AccessToken)?;
    Ok(HttpResponse::Ok().json(
        sessions
            .into_iter()
            .map(SessionDetails::from)
            .collect::<Vec<_>>(),
    ))
}

#[utoipa::path(
    delete, path = "/api/auth/sessions/{id}/", tag = "account", operation_id = "end_session",
    summary = "End one of these sessions",
    description = "With all its tokens. Whatever is no live session of this user is a 404.",
    security(("bearerAuth" = [])),
    params(("id" = String, Path, description = "The `id` in the list.", format = "uuid")),
    responses((status = 204, description = "It has ended."), error_responses::OwnSession)
)]
pub(in crate::http) async fn end(
    request: HttpRequest,
    state: Data<State>,
) -> Result<HttpResponse, HttpError> {
    let token = bearer::token(&request, &state.settings.auth_header_types)?;
    // Not as an argument: one that is no text would be refused before anybody asked who that is.
    let id = request
        .match_info()
        .get("id")
        .unwrap_or_default()
        .to_owned();
    state
        .auth
        .end_session(&token, &id, &client(&request))
        .await
        .map_err(HttpError::AccessToken)?;
    Ok(HttpResponse::NoContent().finish())
}
