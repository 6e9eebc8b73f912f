//! Errors of the HTTP library before routing. They have the format of other errors.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use latchkey_testkit::{Backend, TestApp};

const GET: &str = "GET /health/live HTTP/1.1\r\nHost: a\r\n";

/// Sends these bytes. Returns all received data.
fn sent(app: &TestApp, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(app.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[track_caller]
fn expect(answer: &str, status: &str, detail: &str) {
    let at = answer.rfind("HTTP/1.1 ").unwrap_or_default();
    let (head, body) = answer[at..].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    assert_eq!(body, format!(r#"{{"detail":"{detail}"}}"#), "{answer}");
    for line in [
        &format!("content-length: {}", body.len()),
        "connection: close",
        "content-type: application/json",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
    ] {
        assert_eq!(
            head.lines().filter(|known| known == &line).count(),
            1,
            "{line}: {answer}"
        );
    }
    assert!(
        head.contains("\r\nx-request-id: ") && head.contains("\r\ndate: "),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_http_is_a_400_with_a_body() {
    let app = TestApp::start(Backend::Embedded).await;
    for request in [
        "GARBAGE\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\nHost: a\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        format!("{GET}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        format!("{GET}Transfer-Encoding: gzip\r\n\r\n"),
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}".to_owned(),
    ] {
        expect(&sent(&app, request.as_bytes()), "400 ", "Bad request.");
        // After pipelined requests on the same connection.
        let answers = sent(
            &app,
            format!("{}{request}", format!("{GET}\r\n").repeat(3)).as_bytes(),
        );
        assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 3, "{answers}");
        expect(&answers, "400 ", "Bad request.");
    }
}

/// The client is refused while it sends, and still receives the response.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversized_head_is_a_431_with_a_body() {
    let app = TestApp::start(Backend::Embedded).await;
    let detail = "Request header is too large.";
    expect(
        &sent(
            &app,
            format!("{GET}{}\r\n", "A: b\r\n".repeat(200)).as_bytes(),
        ),
        "431 ",
        detail,
    );
    for size in [200_000, 400_000, 1_000_000] {
        let head = format!("{GET}A: {}\r\n\r\n", "a".repeat(size));
        expect(&sent(&app, head.as_bytes()), "431 ", detail);
    }
    // After another request, the library reads more before it checks the limit.
    let head = format!("{GET}\r\n{GET}A: {}\r\n\r\n", "a".repeat(1_000_000));
    expect(&sent(&app, head.as_bytes()), "431 ", detail);
    expect(
        &sent(
            &app,
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(140_000)).as_bytes(),
        ),
        "431 ",
        detail,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_head_is_a_408_with_a_body() {
    let app = TestApp::start_with(Backend::Embedded, &["--header-timeout=200ms"]).await;
    for head in ["", "GET", "POST /api/token/ HTTP/1.1\r\nHo"] {
        expect(
            &sent(&app, head.as_bytes()),
            "408 ",
            "Request header did not arrive in time.",
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_chunk_is_one_400() {
    let app = TestApp::start(Backend::Embedded).await;
    let head = "POST /api/token/verify/ HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "x\r\n",
        "2\r\n{}x",
        "2\r\n{}\r\n-1\r\n",
        "fffffffffffffffffff\r\n",
    ] {
        let answer = sent(&app, format!("{head}{body}").as_bytes());
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{body:?} {answer}");
        expect(&answer, "400 ", "Bad request.");
    }
}
