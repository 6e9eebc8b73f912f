//! `/api/auth/user/`: the user of the access token, in dj-rest-auth's format.

use actix_web::{HttpResponse, http::Method};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    endpoint::{Access, Dialect, Endpoint, Limit, route},
    extract::Auth,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        route(Method::GET, "/api/auth/user")
            .access(Access::Required)
            .dialect(Dialect::Protected)
            .limit(Limit::Session)
            .advertise("user_endpoint")
            .document::<__path_user>()
            .handle(user),
    ]
}

/// User, in dj-rest-auth's format.
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
    summary = "Get the signed-in user",
    description = "Returns the user of the access token, from the database.",
    security(("bearerAuth" = [])),
    responses(
        (status = 200, description = "The user.", body = UserDetails,
            example = json!({ "pk": "3f0e5b52-6a5c-4f0e-9d0b-0d7f6f3f8a11", "username": "ada", "email": "", "first_name": "", "last_name": "" })),
    )
)]
async fn user(Auth(caller): Auth) -> HttpResponse {
    let user = &caller.identity.user;
    HttpResponse::Ok().json(UserDetails {
        pk: user.id.as_str(),
        username: &user.username,
        email: &user.email,
        first_name: &user.first_name,
        last_name: &user.last_name,
    })
}
