//! Authentication by access token.

use actix_web::{FromRequest, HttpRequest, dev::Payload, web::Data};
use futures_util::future::LocalBoxFuture;

use super::{bearer, client_info::client_info};
use crate::{error::HttpError, state::State};
use latchkey_service::Caller;

/// Authenticated caller. A request without a valid access token is refused before the handler runs.
pub(crate) struct Auth(pub Caller);

/// Authenticated caller, or `None` for a request without credentials. Invalid credentials are
/// refused.
pub(crate) struct OptionalAuth(pub Option<Caller>);

impl FromRequest for Auth {
    type Error = HttpError;
    type Future = LocalBoxFuture<'static, Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { authenticate(&request).await.map(Self) })
    }
}

impl FromRequest for OptionalAuth {
    type Error = HttpError;
    type Future = LocalBoxFuture<'static, Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            match authenticate(&request).await {
                Ok(caller) => Ok(Self(Some(caller))),
                Err(HttpError::NotAuthenticated) => Ok(Self(None)),
                Err(error) => Err(error),
            }
        })
    }
}

async fn authenticate(request: &HttpRequest) -> Result<Caller, HttpError> {
    let state = request
        .app_data::<Data<State>>()
        .ok_or(HttpError::NotAuthenticated)?;
    let token = bearer::token(request, &state.settings.auth_header_types)?;
    state
        .services
        .authenticate
        .authenticate(&token, client_info(request))
        .await
        .map_err(HttpError::Authentication)
}
