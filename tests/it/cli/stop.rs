//! Signals that stop a server, and the shutdown delay.

use std::{net::TcpStream, time::Instant};

use latchkey_testkit::{PASSWORD, Place, servers::eventually};

const STOPPING: &str = r#"{"status":"stopping","database":"ok","keys":"ok"}"#;

fn address(url: &str) -> &str {
    url.strip_prefix("http://").unwrap()
}

#[tokio::test]
async fn shutdown_delay_serves_requests_and_readiness_is_503() {
    for signal in ["TERM", "INT", "HUP"] {
        let place = Place::new().with("LATCHKEY_SHUTDOWN_DELAY", "1h");
        place.user("ada", PASSWORD);
        let server = place.serve("");
        assert_eq!(server.get("/health/ready").await.status, 200);
        server.signal(signal);
        eventually("readiness is 503", async || {
            server.get("/health/ready").await.status == 503
        })
        .await;
        let ready = server.get("/health/ready").await;
        ready.expect(503, STOPPING);
        assert_eq!(
            (ready.header("retry-after"), ready.header("connection")),
            ("1", "close")
        );
        assert_eq!(server.get("/health/live").await.status, 200);
        let pair = server.pair("ada", PASSWORD).await;
        let answer = server.refresh(&pair.refresh).await;
        assert_eq!(
            (answer.status, answer.header("connection")),
            (200, "close"),
            "a pool must close the connection"
        );
        place
            .run(&format!("healthcheck --bind {}", address(&server.url)))
            .refused(1);
        // The second signal ends the delay.
        assert_eq!(server.stop(signal).0.code(), Some(0), "SIG{signal}");
    }
}

#[tokio::test]
async fn server_stops_after_the_shutdown_delay() {
    let place = Place::new();
    let server = place.serve("--shutdown-delay 300ms");
    let begun = Instant::now();
    assert_eq!(server.stop("TERM").0.code(), Some(0));
    assert!(begun.elapsed().as_millis() >= 300, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn hangup_without_a_delay_stops_the_server() {
    let server = Place::new().serve("");
    let url = server.url.clone();
    let (status, _) = server.stop("HUP");
    assert_eq!(status.code(), Some(0));
    assert!(TcpStream::connect(address(&url)).is_err());
}

/// `nohup` starts the server so.
#[tokio::test]
async fn hangup_that_is_ignored_at_the_start_stays_ignored() {
    let place = Place::new();
    let server = place.serve_ignoring("HUP");
    server.signal("HUP");
    server.signal("HUP");
    assert_eq!(server.get("/health/ready").await.status, 200);
    assert_eq!(server.stop("TERM").0.code(), Some(0));
    assert_eq!(place.run("serve --shutdown-delay -1s").code, Some(2));
}
