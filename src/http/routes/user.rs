//! `/api/auth/user/`: who the access token is about, in dj-rest-auth's shape.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{self, Data},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{RouteTable, authenticated, read, signed_in_first};
use crate::http::{error::HttpError, openapi::error_responses, state::State};

pub(super) fn configure(table: &mut RouteTable) {
    table.add("/api/auth/user", "GET, HEAD, OPTIONS", |resource| {
        read(resource, user).default_service(web::route().to(signed_in_first))
    });
}

/// A user, in dj-rest-auth's shape.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserDetails<'a> {
    /// The claim `user_id`.
    #[schema(format = "uuid")]
    pk: &'a str,
    username: &'a str,
    email: &'a str,
    first_name: &'a str,
    last_name: &'a str,
}

#[utoipa::path(
    get, path = "/api/auth/user/", tag = "account",
    summary = "Who is signed in",
    description = "The user of the access token, read from the database.",
    security(("bearerAuth" = [])),
    responses(
        (status = 200, description = "The user.", body = UserDetails,
            example = json!({ "pk": "3f0e5b52-6a5c-4f0e-9d0b-0d7f6f3f8a11", "username": "ada", "email": "", "first_name": "", "last_name": "" })),
        error_responses::Protected
    )
)]
pub(in crate::http) async fn user(
    request: HttpRequest,
    state: Data<State>,
) -> Result<HttpResponse, HttpError> {
    let user = authenticated(&request, &state).await?.user;
    Ok(HttpResponse::Ok().json(UserDetails {
        pk: user.id.as_str(),
        username: &user.username,
        email: &user.email,
        first_name: &user.first_name,
        last_name: &user.last_name,
    }))
}
