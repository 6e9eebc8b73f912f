//! A full disk under the embedded database: reads succeed, and readiness reports failed writes.

use std::{fs, process::Command};

use super::PASSWORD;
use crate::interop::require;
use latchkey_testkit::{Place, Server, servers::eventually};

const DOWN: &str = r#"{"status":"down","database":"down","keys":"ok"}"#;

/// Sets the maximum size of the server's files.
fn limit_files(server: &Server, bytes: &str) {
    let mut command = Command::new(require("prlimit", "util-linux"));
    command.args([
        "--pid",
        &server.pid().to_string(),
        &format!("--fsize={bytes}:unlimited"),
    ]);
    assert!(command.status().unwrap().success());
}

/// Limits files to the present size of the write-ahead log, so that nothing can be appended.
fn fill(place: &Place, server: &Server) {
    let log = fs::metadata(place.path("data/latchkey.db-wal"))
        .unwrap()
        .len();
    limit_files(server, &log.to_string());
}

async fn is_ready(server: &Server, status: u16) -> bool {
    server.get("/health/ready").await.status == status
}

fn started() -> (Place, Server) {
    let place = Place::new();
    place.user("ada", PASSWORD);
    // A write beyond the limit fails, as on a full disk, instead of killing the process.
    let server = place.serve_ignoring("XFSZ");
    (place, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_write_makes_the_instance_unready_until_one_succeeds() {
    let (place, server) = started();
    let pair = server.pair("ada", PASSWORD).await;
    assert!(is_ready(&server, 200).await);
    fill(&place, &server);
    let refused = server.obtain("ada", PASSWORD).await;
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, "1"),
        "{refused:?}"
    );
    eventually("readiness is 503", async || is_ready(&server, 503).await).await;
    let ready = server.get("/health/ready").await;
    ready.expect(503, DOWN);
    assert_eq!(ready.header("retry-after"), "1");
    eventually("the failed write is logged", async || {
        server.log().contains("the database takes no writes: ")
    })
    .await;
    // Requests that only read still succeed.
    assert_eq!(server.verify(&pair.access).await.status, 200);
    assert_eq!(server.get("/health/live").await.status, 200);
    limit_files(&server, "unlimited");
    eventually("readiness is 200 again", async || {
        is_ready(&server, 200).await
    })
    .await;
    server.pair("ada", PASSWORD).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk_is_detected_without_a_sign_in() {
    let (place, server) = started();
    server.pair("ada", PASSWORD).await;
    fill(&place, &server);
    eventually("readiness is 503", async || is_ready(&server, 503).await).await;
    limit_files(&server, "unlimited");
    eventually("readiness is 200 again", async || {
        is_ready(&server, 200).await
    })
    .await;
    let pair = server.pair("ada", PASSWORD).await;
    let answer = server.log_out(&pair.refresh).await;
    assert_eq!(answer.status, 200);
}

/// Frequent readiness requests cause no further test writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_request_writes_nothing() {
    let (place, server) = started();
    let size = || {
        fs::metadata(place.path("data/latchkey.db-wal"))
            .unwrap()
            .len()
    };
    server.pair("ada", PASSWORD).await;
    let before = size();
    for _ in 0..200 {
        assert!(is_ready(&server, 200).await);
    }
    // The audit trail and one test write may occur meanwhile.
    assert!(size() - before < 100_000, "{}", size() - before);
}
