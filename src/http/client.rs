//! Where a request comes from.

use actix_web::{HttpRequest, http::header::USER_AGENT};

use crate::service::Client;

const MAX_USER_AGENT: usize = 256;

/// The address of the socket: a header could say anything.
pub(super) fn client(request: &HttpRequest) -> Client {
    let agent = request.headers().get(USER_AGENT).map(|value| plain(value.as_bytes()));
    Client {
        // On a socket for both, an IPv4 address comes as one of IPv6.
        ip: request.peer_addr().map(|address| address.ip().to_canonical()),
        user_agent: agent,
    }
}

fn plain(agent: &[u8]) -> String {
    match std::str::from_utf8(agent) {
        Ok(text) if text.len() <= MAX_USER_AGENT && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) => {
            text.to_owned()
        }
        _ => String::from_utf8_lossy(agent).chars().filter(|c| is_plain(*c)).take(MAX_USER_AGENT).collect(),
    }
}

/// What a terminal shows as it stands, and what ends no line: operators read it. Among the others are NUL, which
/// Postgres does not keep, and the marks that turn the direction of text.
fn is_plain(c: char) -> bool {
    let invisible = matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
    );
    !c.is_control() && !invisible
}
