//! `/api/auth/sessions/`: list of the user's live sessions, and end of one of them.

use actix_web::{HttpRequest, HttpResponse, http::Method, web::Data};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    endpoint::{Access, Dialect, Endpoint, Limit, route},
    error::HttpError,
    extract::Auth,
    state::State,
};
use latchkey_domain::time::Moment;
use latchkey_service::{Error, OwnSession};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        route(Method::GET, "/api/auth/sessions")
            .access(Access::Required)
            .dialect(Dialect::Protected)
            .limit(Limit::Session)
            .advertise("sessions_endpoint")
            .document::<__path_list>()
            .handle(list),
        route(Method::DELETE, "/api/auth/sessions/{id}")
            .access(Access::Required)
            .dialect(Dialect::Protected)
            .limit(Limit::Session)
            .errors(|| vec![Error::NoSession.into()])
            .document::<__path_end>()
            .handle(end),
    ]
}

/// Session. Times are in UTC (RFC 3339), in the format of Django REST framework.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SessionDetails {
    /// The claim `sid`.
    #[schema(format = "uuid")]
    id: String,
    /// True for the session of the access token.
    current: bool,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    last_used_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
    /// Recorded at the sign-in or the last refresh.
    #[schema(required = true)]
    ip: Option<String>,
    /// Recorded at the sign-in or the last refresh.
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
    summary = "List the live sessions",
    description = "Returns the live sessions of the access token's user, the newest first.",
    security(("bearerAuth" = [])),
    responses(
        (status = 200, description = "The sessions.", body = [SessionDetails],
            example = json!([{
                "id": "9b2f1c1e-4f4c-4a55-8d0a-5f0a3c1d2e3f", "current": true,
                "created_at": "2026-01-31T12:00:00.000000Z", "last_used_at": "2026-01-31T12:00:00.000000Z",
                "expires_at": "2026-02-01T12:00:00.000000Z", "ip": "192.0.2.7", "user_agent": null
            }])),
    )
)]
async fn list(Auth(caller): Auth, state: Data<State>) -> Result<HttpResponse, HttpError> {
    let sessions = state.services.own_sessions.list(&caller).await?;
    let details: Vec<_> = sessions.into_iter().map(SessionDetails::from).collect();
    Ok(HttpResponse::Ok().json(details))
}

#[utoipa::path(
    delete, path = "/api/auth/sessions/{id}/", tag = "account", operation_id = "end_session",
    summary = "End a session",
    description = "Revokes all tokens of the session. An id that is not a live session of the user is a 404.",
    security(("bearerAuth" = [])),
    params(("id" = String, Path, description = "The `id` in the list.", format = "uuid")),
    responses((status = 204, description = "The session has ended."))
)]
async fn end(
    Auth(caller): Auth,
    request: HttpRequest,
    state: Data<State>,
) -> Result<HttpResponse, HttpError> {
    let id = request.match_info().get("id").unwrap_or_default();
    state.services.own_sessions.end(caller, id).await?;
    Ok(HttpResponse::NoContent().finish())
}
