//! Address and `User-Agent` of a client.

use std::{
    convert::Infallible,
    future::{Ready, ready},
};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header::USER_AGENT, web::Data};

use super::client_address::client_address;
use crate::state::State;
use latchkey_domain::visible::is_hidden;
use latchkey_service::ClientInfo;

const MAX_USER_AGENT: usize = 256;

/// Address and `User-Agent` of the client.
pub(crate) struct Client(pub ClientInfo);

impl FromRequest for Client {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self(client_info(request))))
    }
}

/// Returns the address and the `User-Agent` of the client. A sign-in and each refresh store them in
/// the session's row (`latchkey-store/src/sql/sign_in.rs`, `sql/rotation`), and the audit trail in
/// its events.
pub(super) fn client_info(request: &HttpRequest) -> ClientInfo {
    let agent = request
        .headers()
        .get(USER_AGENT)
        .map(|value| plain(value.as_bytes()));
    let peer = request.peer_addr().map(|address| address.ip());
    let ip = match request.app_data::<Data<State>>() {
        Some(state) => client_address(peer, request.headers(), &state.settings),
        None => peer.map(|address| address.to_canonical()),
    };
    ClientInfo {
        ip,
        user_agent: agent,
    }
}

/// Removes control and invisible characters, among them NUL, which Postgres cannot store. Limits
/// the length to [`MAX_USER_AGENT`] characters.
fn plain(agent: &[u8]) -> String {
    match std::str::from_utf8(agent) {
        Ok(text)
            if text.len() <= MAX_USER_AGENT
                && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) =>
        {
            text.to_owned()
        }
        _ => String::from_utf8_lossy(agent)
            .chars()
            .filter(|c| !is_hidden(*c))
            .take(MAX_USER_AGENT)
            .collect(),
    }
}
