//! Requests that are too large, too slow, or ambiguous.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use latchkey_testkit::{Backend, TestApp};

const TOO_LARGE: &str = r#"{"detail":"Request body is too large."}"#;
const HEAD: &str = "POST /api/token/ HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";

/// Sends only these bytes. Reads until `end` or until the server closes the connection.
fn half_sent(app: &TestApp, bytes: &str, end: &str) -> String {
    let mut stream = TcpStream::connect(app.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let (mut answer, mut buffer) = (String::new(), [0; 1024]);
    while !answer.contains(end) {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(length) => answer.push_str(&String::from_utf8_lossy(&buffer[..length])),
        }
    }
    answer
}

#[tokio::test]
async fn body_beyond_16_kib_is_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    let padded = |length: usize| format!("{{}}{}", " ".repeat(length - 2));
    let answer = app.post("/api/token/verify/", &padded(16_385)).await;
    answer.expect(413, TOO_LARGE);
    assert_eq!(answer.header("www-authenticate"), "");
    let fits = app.post("/api/token/verify/", &padded(16_384)).await;
    fits.expect(400, r#"{"token":["This field is required."]}"#);
}

#[tokio::test]
async fn chunked_body_has_the_same_limit() {
    let app = TestApp::start(Backend::Embedded).await;
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(4096));
    let request = format!(
        "{HEAD}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(5)
    );
    let answer = app.raw(request.as_bytes());
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.ends_with(TOO_LARGE),
        "{answer}"
    );
    let request = format!(
        "{HEAD}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
    );
    let answer = app.raw(request.as_bytes());
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("This field is required."),
        "{answer}"
    );
}

/// The client does not have to send the body.
#[tokio::test]
async fn announced_length_is_refused_without_the_body() {
    let app = TestApp::start(Backend::Embedded).await;
    for length in ["16385", "99999999999"] {
        let answer = half_sent(
            &app,
            &format!("{HEAD}Content-Length: {length}\r\n\r\n{{"),
            TOO_LARGE,
        );
        assert!(
            answer.starts_with("HTTP/1.1 413 ") && answer.ends_with(TOO_LARGE),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn body_limit_is_configurable() {
    let app = TestApp::start_with(Backend::Embedded, &["--body-limit=1024"]).await;
    app.post("/api/token/verify/", &" ".repeat(1025))
        .await
        .expect(413, TOO_LARGE);
    app.post("/api/token/verify/", &format!("{{}}{}", " ".repeat(1000)))
        .await
        .expect(400, r#"{"token":["This field is required."]}"#);
}

#[tokio::test]
async fn slow_body_times_out() {
    let app = TestApp::start_with(Backend::Embedded, &["--body-timeout=200ms"]).await;
    let too_slow = r#"{"detail":"Request body did not arrive in time."}"#;
    for body in [
        "Content-Length: 100\r\n\r\n{",
        "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    ] {
        let answer = half_sent(&app, &format!("{HEAD}{body}"), too_slow);
        assert!(
            answer.starts_with("HTTP/1.1 408 ") && answer.ends_with(too_slow),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn slow_header_times_out() {
    let app = TestApp::start_with(Backend::Embedded, &["--header-timeout=200ms"]).await;
    let answer = half_sent(&app, "POST /api/token/ HTTP/1.1\r\nHo", "\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

/// Request smuggling: another server could parse the end of such a request as the next request.
#[tokio::test]
async fn ambiguous_framing_is_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    let smuggled = "GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for head in [
        "GARBAGE\r\n\r\n".to_owned(),
        format!("{HEAD}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}"),
        format!("{HEAD}Content-Length: +2\r\n\r\n{{}}"),
        format!("{HEAD}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{HEAD}Transfer-Encoding: xchunked\r\n\r\n{{}}"),
        format!("{HEAD}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    ] {
        let answer = app.raw(format!("{head}{smuggled}").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{head}: {answer}");
    }
}
