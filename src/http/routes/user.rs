//! `/api/auth/user/`: who the access token is about, in dj-rest-auth's shape.

use actix_web::{
    HttpRequest, HttpResponse,
    http::Method,
    web::{self, Data, ServiceConfig},
};
use serde::Serialize;

use super::{allow, both, options};
use crate::{
    domain::user::User,
    http::{bearer, error::HttpError, state::State},
};

pub(super) fn configure(config: &mut ServiceConfig) {
    config.service(
        both("/api/auth/user")
            .wrap(allow("GET, HEAD, OPTIONS"))
            .route(web::get().to(user))
            .route(web::head().to(user))
            .route(web::method(Method::OPTIONS).to(options))
            .default_service(web::route().to(another_method)),
    );
}

#[derive(Serialize)]
struct UserDetails<'a> {
    pk: &'a str,
    username: &'a str,
    email: &'a str,
    first_name: &'a str,
    last_name: &'a str,
}

async fn user(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, HttpError> {
    let user = authenticated(&request, &state).await?;
    Ok(HttpResponse::Ok().json(UserDetails {
        pk: user.id.as_str(),
        username: &user.username,
        email: &user.email,
        first_name: &user.first_name,
        last_name: &user.last_name,
    }))
}

/// First who, then what: without credentials a wrong method is a 401.
async fn another_method(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, HttpError> {
    authenticated(&request, &state).await?;
    Err(HttpError::MethodNotAllowed(request.method().to_string()))
}

async fn authenticated(request: &HttpRequest, state: &State) -> Result<User, HttpError> {
    let token = bearer::token(request, &state.settings.auth_header_types)?;
    state.auth.authenticate(&token).await.map_err(HttpError::AccessToken)
}
