//! Upgrade offers are ignored, and a connection closes only after a response with `Connection:
//! close`.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use crate::interop::require;
use latchkey_testkit::{Backend, TestApp};

const BODY: &str = r#"{"token":"junk"}"#;

fn connect(app: &TestApp) -> TcpStream {
    let stream = TcpStream::connect(app.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream
}

/// Reads one response. Returns its head.
fn response(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        let read = stream.read(&mut byte).unwrap();
        assert_eq!(
            read,
            1,
            "the connection was closed: {}",
            String::from_utf8_lossy(&head)
        );
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    head
}

fn post(headers: &str) -> String {
    let head = "POST /api/token/verify/ HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    format!(
        "{head}{headers}Content-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrade_offer_is_ignored_and_the_connection_stays_open() {
    let app = TestApp::start(Backend::Embedded).await;
    let get =
        |headers: &str| format!("GET /.well-known/jwks.json HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    let chunked = |headers: &str| {
        let headers = format!("{headers}Transfer-Encoding: chunked\r\n");
        let request = post(&headers).replace(&format!("Content-Length: {}\r\n", BODY.len()), "");
        request.replace(BODY, &format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len()))
    };
    for offer in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
        "connection: keep-alive, upgrade\r\nupgrade: h2c\r\n",
        "Connection: keep-alive\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        "Upgrade: websocket\r\n",
        "Upgrade: TLS/1.0, websocket\r\nConnection: ,Upgrade\r\n",
        "Connection: Upgrade\r\n",
    ] {
        let mut stream = connect(&app);
        for (request, status) in [
            (get(offer), 200),
            (post(offer), 401),
            (chunked(offer), 401),
            (get(offer), 200),
        ] {
            stream.write_all(request.as_bytes()).unwrap();
            let head = response(&mut stream);
            assert!(
                head.starts_with(&format!("HTTP/1.1 {status} ")),
                "{offer} {head}"
            );
            assert!(
                !head.contains("\r\nconnection:") && !head.contains("\r\nupgrade:"),
                "{offer} {head}"
            );
        }
        // The client waits for `100 Continue` before it sends the body.
        let waiting = post(&format!("{offer}Expect: 100-continue\r\n"));
        let (head, body) = waiting.split_at(waiting.len() - BODY.len());
        stream.write_all(head.as_bytes()).unwrap();
        assert!(
            response(&mut stream).starts_with("HTTP/1.1 100 "),
            "{offer}"
        );
        stream.write_all(body.as_bytes()).unwrap();
        assert!(
            response(&mut stream).starts_with("HTTP/1.1 401 "),
            "{offer}"
        );
        // Single bytes, then several requests at once.
        for byte in post(offer).bytes() {
            stream.write_all(&[byte]).unwrap();
        }
        assert!(
            response(&mut stream).starts_with("HTTP/1.1 401 "),
            "{offer}"
        );
        stream
            .write_all([post(offer), get(offer), post(offer)].concat().as_bytes())
            .unwrap();
        for status in ["401", "200", "401"] {
            let head = response(&mut stream);
            assert!(
                head.starts_with(&format!("HTTP/1.1 {status} "))
                    && !head.contains("\r\nconnection:"),
                "{head}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn body_that_resembles_an_offer_is_unchanged() {
    let app = TestApp::start(Backend::Embedded).await;
    super::tools::user_with_password(
        &app,
        "ada",
        "x\r\nConnection: Upgrade\r\nUpgrade: websocket",
    )
    .await;
    let body = r#"{"username":"ada","password":"x\r\nConnection: Upgrade\r\nUpgrade: websocket"}"#;
    app.post("/api/token/", body).await.pair();
    let part = "--b\r\nContent-Disposition: form-data; name=";
    let body = format!(
        "{part}\"username\"\r\n\r\nada\r\n{part}\"password\"\r\n\r\nx\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n--b--\r\n"
    );
    let request = app
        .request(reqwest::Method::POST, "/api/token/")
        .header("connection", "Upgrade")
        .header("upgrade", "h2c");
    app.send(
        request
            .header("content-type", "multipart/form-data; boundary=b")
            .body(body),
    )
    .await
    .pair();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_with_http2_offer_reuses_one_connection() {
    let app = TestApp::start(Backend::Embedded).await;
    let url = app.url("/api/token/verify/");
    let mut curl = Command::new(require("curl", "curl"));
    curl.env_clear()
        .args(["--silent", "--show-error", "--http2", "--max-time", "60"]);
    curl.args(["--header", "Content-Type: application/json", "--data", BODY]);
    curl.args(["--write-out", "\n%{http_code} %{num_connects}\n"])
        .args([&url; 20]);
    let output = curl.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("401 "))
        .collect();
    assert_eq!(
        (
            lines.len(),
            lines.iter().filter(|line| line.ends_with(" 0")).count()
        ),
        (20, 19),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_response_has_connection_close() {
    let app = TestApp::start_with(Backend::Embedded, &["--body-timeout=200ms"]).await;
    let long = |headers: &str| format!("POST /nowhere HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    for request in [
        post("Connection: close\r\n"),
        post("Connection: Upgrade, close\r\nUpgrade: h2c\r\n"),
        long("Content-Length: 99999\r\n"),
        long("Transfer-Encoding: chunked\r\n") + "2\r\n{}\r\n0\r\n\r\n",
        post("").replace("Length: 16", "Length: 99999"),
        post("").replace("Length: 16", "Length: 17"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
    ] {
        let mut stream = connect(&app);
        stream.write_all(request.as_bytes()).unwrap();
        let head = response(&mut stream);
        assert!(
            head.contains("\r\nconnection: close\r\n"),
            "{request} {head}"
        );
        let mut rest = Vec::new();
        assert!(
            stream.read_to_end(&mut rest).is_ok() && rest.is_empty(),
            "{request} {head}"
        );
    }
}
