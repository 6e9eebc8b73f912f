//! The end of a server.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use crate::support::{Backend, TestApp};

on_both_backends! {
    async fn a_request_that_began_is_answered_before_the_server_ends(backend: Backend) {
        let mut app = TestApp::start(backend).await;
        let address = app.address;
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let head = "POST /api/token/verify/ HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        // The server asks for the body: the request has begun.
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
            assert!(answer.ends_with(r#"{"token":["This field is required."]}"#), "{answer}");
        });
    }

    /// A proxy may have sent it just before it learned of the stop.
    async fn request_on_an_idle_connection_at_a_stop_is_answered_and_closes_it(backend: Backend) {
        let mut app = TestApp::start(backend).await;
        let address = app.address;
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let request = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n";
        stream.write_all(request).unwrap();
        let mut buffer = [0; 2048];
        let length = stream.read(&mut buffer).unwrap();
        let first = String::from_utf8_lossy(&buffer[..length]).to_ascii_lowercase();
        assert!(first.starts_with("http/1.1 200 ") && !first.contains("connection: close"), "{first}");
        std::thread::scope(|scope| {
            scope.spawn(|| app.stop());
            while TcpStream::connect(address).is_ok() {
                std::thread::yield_now();
            }
            stream.write_all(request).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            let answer = answer.to_ascii_lowercase();
            assert!(answer.starts_with("http/1.1 200 ") && answer.contains("connection: close"), "{answer}");
        });
    }

    async fn what_was_decided_before_the_end_holds_afterwards(backend: Backend) {
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
