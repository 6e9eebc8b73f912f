//! Refusals that the web server writes before there is a request: 400 for bytes that are not HTTP,
//! 408 for a slow head, 431 for a large head. They have no body and few headers, so they are
//! replaced with the usual error responses.

use actix_web::http::StatusCode;

use crate::{error::HttpError, middleware};

const VERSION: &[u8] = b"HTTP/1.";
const END: &[u8] = b"\r\n\r\n";
/// Header of every response of the application.
const OURS: &str = "x-request-id:";

/// Returns the offset of a refusal by the web server in `written`, and the bytes to send instead. A
/// refusal is always the last response of a connection.
pub(super) fn replacement(written: &[u8]) -> Option<(usize, Vec<u8>)> {
    // Most responses end with a body.
    if !written.ends_with(END) {
        return None;
    }
    let start = written
        .windows(VERSION.len())
        .rposition(|window| window == VERSION)?;
    let head = std::str::from_utf8(written.get(start..)?).ok()?;
    let (status, fields) = head.split_once("\r\n")?;
    let code = status
        .split(' ')
        .nth(1)
        .and_then(|code| StatusCode::from_bytes(code.as_bytes()).ok())?;
    let is_empty = fields
        .lines()
        .any(|line| line.eq_ignore_ascii_case("content-length: 0"));
    if !is_empty
        || fields
            .lines()
            .any(|line| line.get(..OURS.len()) == Some(OURS))
    {
        return None;
    }
    let error = match code {
        StatusCode::BAD_REQUEST => HttpError::BadRequest,
        StatusCode::REQUEST_TIMEOUT => HttpError::HeadTooSlow,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => HttpError::HeadTooLarge,
        _ => return None,
    };
    Some((start, complete(status, fields, &error)))
}

/// Returns the response with the headers and the body of `error`. It closes the connection.
fn complete(status: &str, fields: &str, error: &HttpError) -> Vec<u8> {
    let (headers, body) = middleware::unrouted(error);
    let mut response = format!(
        "{status}\r\ncontent-length: {}\r\nconnection: close\r\n",
        body.len()
    )
    .into_bytes();
    for date in fields.lines().filter(|line| line.starts_with("date:")) {
        response.extend_from_slice(date.as_bytes());
        response.extend_from_slice(b"\r\n");
    }
    for (name, value) in &headers {
        response.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    response.extend_from_slice(b"\r\n");
    response.extend_from_slice(body.as_bytes());
    response
}

#[cfg(test)]
mod tests {
    use super::replacement;

    #[test]
    fn only_refusals_of_the_web_server_are_replaced() {
        let answered = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-request-id: a\r\n\r\n{}";
        for status in [
            "400 Bad Request",
            "408 Request Timeout",
            "431 Request Header Fields Too Large",
        ] {
            let refused = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\ndate: now\r\n\r\n");
            for before in ["", answered, &answered.repeat(2)] {
                let (start, bytes) = replacement(format!("{before}{refused}").as_bytes()).unwrap();
                let text = String::from_utf8(bytes).unwrap();
                assert_eq!(start, before.len());
                assert!(
                    text.starts_with(&format!("HTTP/1.1 {status}\r\n")) && text.ends_with("\"}"),
                    "{text}"
                );
                assert!(
                    text.contains("\r\ndate: now\r\n")
                        && text.contains("\r\nconnection: close\r\n"),
                    "{text}"
                );
            }
            let ours = refused.replace("date", "x-request-id: a\r\ndate");
            assert!(replacement(ours.as_bytes()).is_none());
        }
        for other in [
            answered,
            "",
            "\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
        ] {
            assert!(replacement(other.as_bytes()).is_none(), "{other}");
        }
    }
}
