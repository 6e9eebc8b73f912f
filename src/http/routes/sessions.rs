//! `/api/auth/sessions/`: where the user is signed in, and the end of one of these sign-ins.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{self, Data, ServiceConfig},
};
use serde::Serialize;

use super::{allow, both, options, signed_in_first};
use crate::{
    domain::time::Moment,
    http::{bearer, client::client, error::HttpError, state::State, to_the_end::protected},
    service::OwnSession,
};

pub(super) fn configure(config: &mut ServiceConfig) {
    for resource in both("/api/auth/sessions") {
        config.service(
            resource
                .wrap(allow("GET, HEAD, OPTIONS"))
                .route(web::get().to(list))
                .route(web::head().to(list))
                .route(web::method(actix_web::http::Method::OPTIONS).to(options))
                .default_service(web::route().to(signed_in_first)),
        );
    }
    for resource in both("/api/auth/sessions/{id}") {
        config.service(
            resource
                .wrap(allow("DELETE, OPTIONS"))
                .route(web::delete().to(end))
                .route(web::method(actix_web::http::Method::OPTIONS).to(options))
                .default_service(web::route().to(signed_in_first)),
        );
    }
}

/// Moments are in UTC (RFC 3339), as Django REST framework writes them.
#[derive(Serialize)]
struct SessionDetails {
    id: String,
    current: bool,
    created_at: String,
    last_used_at: String,
    expires_at: String,
    ip: Option<String>,
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

async fn list(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, HttpError> {
    let token = bearer::token(&request, &state.settings.auth_header_types)?;
    let sessions = state.auth.sessions(&token, &client(&request)).await.map_err(HttpError::AccessToken)?;
    Ok(HttpResponse::Ok().json(sessions.into_iter().map(SessionDetails::from).collect::<Vec<_>>()))
}

async fn end(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, HttpError> {
    let token = bearer::token(&request, &state.settings.auth_header_types)?;
    // Not as an argument: one that is no text would be refused before anybody asked who that is.
    let id = request.match_info().get("id").unwrap_or_default().to_owned();
    let client = client(&request);
    protected(async move { state.auth.end_session(&token, &id, &client).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}
