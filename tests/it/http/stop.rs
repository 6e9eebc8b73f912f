//! Graceful stop of a server.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use latchkey_testkit::{Backend, TestApp, on_both_backends};

/// Connection that stays open between requests.
struct KeptConnection(TcpStream);

impl KeptConnection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        Self(stream)
    }

    /// Sends a request. Returns true if the response closes the connection.
    fn closes_with_the_next_response(&mut self) -> bool {
        self.0
            .write_all(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let mut buffer = [0; 2048];
        let length = self.0.read(&mut buffer).unwrap();
        let response = String::from_utf8_lossy(&buffer[..length]).to_ascii_lowercase();
        assert!(response.starts_with("http/1.1 200 "), "{response:?}");
        response.contains("connection: close")
    }
}

on_both_backends! {
    async fn revocation_persists_after_a_restart(backend: Backend) {
        let mut app = TestApp::start(backend).await;
        let (kept, left) = (app.signed_in("kept").await, app.signed_in("left").await);
        app.blacklist(&left.refresh).await.expect(200, "{}");
        app.stop();
        let next = app.twin().await;
        next.verify(&left.access).await.expect(400, super::tools::VERIFY_BLACKLISTED);
        next.verify(&kept.access).await.expect(200, "{}");
        next.refresh(&kept.refresh).await.pair();
    }
}

#[tokio::test]
async fn started_request_is_answered_before_the_stop() {
    let mut app = TestApp::start(Backend::Embedded).await;
    let address = app.address;
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let head = "POST /api/token/verify/ HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    // The server answers `100 Continue`, so the request has begun.
    let mut buffer = [0; 64];
    let length = stream.read(&mut buffer).unwrap();
    assert!(buffer[..length].starts_with(b"HTTP/1.1 100 "));
    std::thread::scope(|scope| {
        scope.spawn(|| app.stop());
        while TcpStream::connect(address).is_ok() {
            std::thread::yield_now();
        }
        stream.write_all(b"{}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(
            answer.ends_with(r#"{"token":["This field is required."]}"#),
            "{answer}"
        );
    });
}

/// A proxy may have sent the request before it detected the stop.
#[tokio::test]
async fn idle_connection_at_a_stop_is_answered_and_closed() {
    let mut app = TestApp::start(Backend::Embedded).await;
    let (mut idle, mut busy) = (
        KeptConnection::open(app.address),
        KeptConnection::open(app.address),
    );
    assert!(!idle.closes_with_the_next_response() && !busy.closes_with_the_next_response());
    std::thread::scope(|scope| {
        scope.spawn(|| app.stop());
        // The first closing response shows that the stop has begun.
        while !busy.closes_with_the_next_response() {}
        assert!(idle.closes_with_the_next_response());
        assert_eq!(
            idle.0.read(&mut [0; 64]).unwrap(),
            0,
            "the connection is open"
        );
    });
}
