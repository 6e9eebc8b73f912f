//! `/api/auth/user/`: who the access token is about, in dj-rest-auth's shape.

use actix_web::{
    HttpRequest, HttpResponse,
    http::Method,
    web::{self, Data, ServiceConfig},
};
use serde::Serialize;

use super::{allow, authenticated, both, options, signed_in_first};
use crate::http::{error::HttpError, state::State};

pub(super) fn configure(config: &mut ServiceConfig) {
    for resource in both("/api/auth/user") {
        config.service(
            resource
                .wrap(allow("GET, HEAD, OPTIONS"))
                .route(web::get().to(user))
                .route(web::head().to(user))
                .route(web::method(Method::OPTIONS).to(options))
                .default_service(web::route().to(signed_in_first)),
        );
    }
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
    let user = authenticated(&request, &state).await?.user;
    Ok(HttpResponse::Ok().json(UserDetails {
        pk: user.id.as_str(),
        username: &user.username,
        email: &user.email,
        first_name: &user.first_name,
        last_name: &user.last_name,
    }))
}
