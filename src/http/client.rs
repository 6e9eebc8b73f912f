//! Where a request comes from.

use actix_web::{HttpRequest, http::header::USER_AGENT};

use crate::service::Client;

const MAX_USER_AGENT: usize = 256;

/// The address of the socket: a header could say anything.
pub(super) fn client(request: &HttpRequest) -> Client {
    let agent = request.headers().get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    Client {
        ip: request.peer_addr().map(|address| address.ip()),
        // A NUL is the one character that Postgres does not keep.
        user_agent: agent.map(|agent| agent.chars().filter(|c| !c.is_control()).take(MAX_USER_AGENT).collect()),
    }
}
