//! `/api/token/…`: simplejwt's four views.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::USER_AGENT,
    web::{Data, Payload, ServiceConfig},
};
use serde::Serialize;

use super::post;
use crate::{
    domain::password::Password,
    http::{body, error::HttpError, fields::Trim, state::State},
    service::{Client, Error, TokenPair},
};

const MAX_USER_AGENT: usize = 256;

pub(super) fn configure(config: &mut ServiceConfig) {
    post(config, "/api/token", obtain);
    post(config, "/api/token/refresh", refresh);
    post(config, "/api/token/verify", verify);
    post(config, "/api/token/blacklist", blacklist);
}

/// simplejwt's order: refresh before access.
#[derive(Serialize)]
struct Obtained {
    refresh: Option<String>,
    access: String,
}

/// simplejwt's order: access before refresh.
#[derive(Serialize)]
struct Refreshed {
    access: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<String>,
}

#[derive(Serialize)]
struct Empty {}

async fn obtain(request: HttpRequest, payload: Payload, state: Data<State>) -> Result<HttpResponse, HttpError> {
    let data = body::Data::read(&request, payload, &state.settings).await?;
    let [username, password] = data.take([("username", Trim::Yes), ("password", Trim::No)])?;
    let password = Password::parse(password).map_err(|_| HttpError::Service(Error::BadCredentials))?;
    let client = client(&request);
    // Not to the end: its writes are whole each by itself, and nobody hashes for a client that has gone.
    let TokenPair { access, refresh } = state.auth.obtain(&username, password, client).await?;
    Ok(HttpResponse::Ok().json(Obtained { refresh, access }))
}

async fn refresh(request: HttpRequest, payload: Payload, state: Data<State>) -> Result<HttpResponse, HttpError> {
    let data = body::Data::read(&request, payload, &state.settings).await?;
    let [token] = data.take([("refresh", Trim::Yes)])?;
    let client = client(&request);
    let TokenPair { access, refresh } = to_the_end(async move { state.auth.refresh(&token, client).await }).await?;
    Ok(HttpResponse::Ok().json(Refreshed { access, refresh }))
}

async fn verify(request: HttpRequest, payload: Payload, state: Data<State>) -> Result<HttpResponse, HttpError> {
    let data = body::Data::read(&request, payload, &state.settings).await?;
    let [token] = data.take([("token", Trim::Yes)])?;
    state.auth.verify(&token).await.map_err(HttpError::Verify)?;
    Ok(HttpResponse::Ok().json(Empty {}))
}

async fn blacklist(request: HttpRequest, payload: Payload, state: Data<State>) -> Result<HttpResponse, HttpError> {
    let data = body::Data::read(&request, payload, &state.settings).await?;
    let [token] = data.take([("refresh", Trim::Yes)])?;
    to_the_end(async move { state.auth.blacklist(&token).await }).await?;
    Ok(HttpResponse::Ok().json(Empty {}))
}

/// Runs a use case that writes to its end, also when the client goes away: actix drops the handler then, and a
/// rotation without its mark would be half of one.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, HttpError> {
    match tokio::spawn(work).await {
        Ok(result) => result.map_err(HttpError::Service),
        Err(_) => Err(HttpError::Service(Error::Internal("a use case panicked".to_owned()))),
    }
}

/// The address of the socket: a header could say anything.
fn client(request: &HttpRequest) -> Client {
    let agent = request.headers().get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    Client {
        ip: request.peer_addr().map(|address| address.ip().to_string()),
        // A NUL is the one character that Postgres does not keep.
        user_agent: agent.map(|agent| agent.chars().filter(|c| !c.is_control()).take(MAX_USER_AGENT).collect()),
    }
}
