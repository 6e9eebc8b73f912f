//! `/api/token/…`: simplejwt's four views.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload, ServiceConfig},
};
use serde::Serialize;

use super::post;
use crate::{
    domain::password::Password,
    http::{body, client::client, error::HttpError, fields::Trim, state::State, to_the_end::to_the_end},
    service::{Error, TokenPair},
};

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
    let TokenPair { access, refresh } = to_the_end(async move { state.auth.refresh(&token, &client).await }).await?;
    Ok(HttpResponse::Ok().json(Refreshed { access, refresh }))
}

async fn verify(request: HttpRequest, payload: Payload, state: Data<State>) -> Result<HttpResponse, HttpError> {
    let data = body::Data::read(&request, payload, &state.settings).await?;
    let [token] = data.take([("token", Trim::Yes)])?;
    state.auth.verify(&token, &client(&request)).await.map_err(HttpError::Verify)?;
    Ok(HttpResponse::Ok().json(Empty {}))
}

async fn blacklist(request: HttpRequest, payload: Payload, state: Data<State>) -> Result<HttpResponse, HttpError> {
    let data = body::Data::read(&request, payload, &state.settings).await?;
    let [token] = data.take([("refresh", Trim::Yes)])?;
    let client = client(&request);
    to_the_end(async move { state.auth.blacklist(&token, &client).await }).await?;
    Ok(HttpResponse::Ok().json(Empty {}))
}
