//! Connection floods and connections that stay open.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use latchkey_testkit::{Backend, PASSWORD, Place, TestApp, servers::eventually};

/// Timeout of the client. It exceeds every limit in these tests.
const CLIENT_TIMEOUT: Duration = Duration::from_mins(1);

fn connect(app: &TestApp, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(app.address).unwrap();
    stream.set_read_timeout(Some(CLIENT_TIMEOUT)).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    stream
}

/// Sends these bytes repeatedly until the server closes the connection. Returns the elapsed time.
fn send_until_closed(stream: &mut TcpStream, bytes: &str) -> Duration {
    let begun = Instant::now();
    stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let mut answer = [0; 4096];
    while begun.elapsed() < CLIENT_TIMEOUT {
        if stream.write_all(bytes.as_bytes()).is_err() || matches!(stream.read(&mut answer), Ok(0))
        {
            return begun.elapsed();
        }
    }
    panic!("the connection is still open");
}

/// Waits until the server closes the connection. Returns all received data.
fn read_until_closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            panic!("the connection is still open")
        }
        _ => String::from_utf8_lossy(&answer).into_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_beyond_the_limit_are_evicted() {
    let app =
        TestApp::start_with(Backend::Embedded, &["--workers=2", "--max-connections=20"]).await;
    app.user("ada").await;
    let request = "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n";
    // Connections without data, with a partial head, and with a complete request.
    let idle: Vec<TcpStream> = (0..300)
        .map(|number| connect(&app, ["", "GET / HT", request][number % 3]))
        .collect();
    // Until all are accepted, further connections could evict that of a request.
    let metrics = b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    eventually("all connections were accepted", async || {
        let text = app.raw(metrics);
        let evicted = text
            .lines()
            .find_map(|line| line.strip_prefix("latchkey_connections_evicted_total "));
        evicted.is_some_and(|evicted| evicted.trim().parse::<u64>().unwrap() >= 250)
    })
    .await;
    app.get("/health/live")
        .await
        .expect(200, r#"{"status":"ok"}"#);
    app.obtain("ada", PASSWORD).await.pair();
    eventually("evicted connections are closed", async || {
        app.metric("latchkey_connections_open").await
            <= app.metric("latchkey_connections_limit").await
    })
    .await;
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connection_is_closed() {
    let app = TestApp::start_with(Backend::Embedded, &["--header-timeout=1s"]).await;
    read_until_closed(&mut connect(&app, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn incomplete_second_request_head_is_closed() {
    let app = TestApp::start_with(Backend::Embedded, &["--header-timeout=1s"]).await;
    let mut stream = connect(
        &app,
        "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n",
    );
    assert!(send_until_closed(&mut stream, "A: a\r\n") < Duration::from_secs(10));
    assert_eq!(app.metric("latchkey_connections_timed_out_total").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_chunked_body_closes_the_connection() {
    let app = TestApp::start_with(Backend::Embedded, &["--header-timeout=1s"]).await;
    for path in [
        "/health/live",
        "/nowhere",
        "/api/auth/user/",
        "/.well-known/jwks.json",
    ] {
        for method in ["GET", "POST"] {
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            );
            let mut stream = connect(&app, &head);
            assert!(
                send_until_closed(&mut stream, "1\r\na\r\n") < Duration::from_secs(10),
                "{method} {path}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_announced_body_closes_the_connection() {
    let app = TestApp::start_with(Backend::Embedded, &["--header-timeout=1s"]).await;
    for path in ["/health/live", "/nowhere", "/api/auth/logout/all/"] {
        let mut stream = connect(
            &app,
            &format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n"),
        );
        assert!(
            send_until_closed(&mut stream, "a") < Duration::from_secs(10),
            "{path}"
        );
    }
}

/// A client that sends complete requests keeps its connection.
#[tokio::test(flavor = "multi_thread")]
async fn chunked_body_that_is_read_keeps_the_connection() {
    let app = TestApp::start(Backend::Embedded).await;
    let request = "POST /api/token/verify/ HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
        Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    let mut stream = connect(&app, request);
    let (mut answer, mut buffer) = (String::new(), [0; 4096]);
    while !answer.ends_with('}') {
        let length = stream.read(&mut buffer).unwrap();
        answer.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
    assert!(!answer.contains("connection: close"), "{answer}");
    stream
        .write_all(
            request
                .replace("Host: a", "Host: a\r\nConnection: close")
                .as_bytes(),
        )
        .unwrap();
    assert!(read_until_closed(&mut stream).starts_with("HTTP/1.1 400 "));
}

/// The client has a small receive buffer, so its kernel accepts few bytes.
#[tokio::test(flavor = "multi_thread")]
async fn client_that_does_not_read_the_response_is_closed() {
    let app = TestApp::start_with(Backend::Embedded, &["--body-timeout=200ms"]).await;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&app.address.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    let request = "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(request.repeat(8).as_bytes()).unwrap();
    eventually("the slow reader is closed", async || {
        app.metric("latchkey_connections_timed_out_total").await == 1
    })
    .await;
    stream.set_read_timeout(Some(CLIENT_TIMEOUT)).unwrap();
    let answers = read_until_closed(&mut stream);
    assert!(
        answers.len() < 8 * 400_000,
        "the whole response was sent: {} bytes",
        answers.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn path_of_60_kib_is_refused_before_routing() {
    let app = TestApp::start(Backend::Embedded).await;
    let long = "a".repeat(60_000);
    for path in [
        format!("/{long}"),
        format!("/api/auth/sessions/{long}/"),
        format!("/health/live?{long}"),
    ] {
        let answer = app.get(&path).await;
        answer.expect(414, r#"{"detail":"Request URI is too long."}"#);
    }
    assert_eq!(app.get(&format!("/{}", "a".repeat(2047))).await.status, 404);
}

/// The requests exceed one read of the web server.
#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_all_answered() {
    let app = TestApp::start(Backend::Embedded).await;
    let get = "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n";
    let body = r#"{"token":"a"}"#;
    let head = "POST /api/token/verify/ HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    let post = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let last = get.replace("Host: a", "Host: a\r\nConnection: close");
    for (requests, good, refused) in [
        (get.repeat(500), 501, 0),
        (post.repeat(200), 1, 200),
        ([get, &post].concat().repeat(200), 201, 200),
    ] {
        let mut stream = connect(&app, "");
        let mut writer = stream.try_clone().unwrap();
        let sent = format!("{requests}{last}");
        let writing = std::thread::spawn(move || writer.write_all(sent.as_bytes()));
        let answers = read_until_closed(&mut stream);
        writing.join().unwrap().unwrap();
        let count = |status: &str| answers.matches(&format!("HTTP/1.1 {status} ")).count();
        assert_eq!((count("200"), count("401")), (good, refused));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_behind_a_slow_one_use_no_memory() {
    let place = Place::new();
    let server = place.serve("");
    let body = r#"{"username":"nobody","password":"wrong"}"#;
    let head = "POST /api/token/ HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    let first = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let request = first + &"GET / HTTP/1.1\r\nHost:\r\n\r\n".repeat(5000);
    let memory = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    };
    let address = server.url.strip_prefix("http://").unwrap();
    let streams: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_nonblocking(true).unwrap();
            let _ = stream.write(request.as_bytes());
            stream
        })
        .collect();
    let mut peak = 0;
    eventually("every request was answered", async || {
        peak = peak.max(memory());
        server.get("/health/live").await.status == 200
            && streams.iter().all(|stream| stream.peek(&mut [0]).is_ok())
    })
    .await;
    assert!(peak < 150, "{peak} MiB");
}
