//! A full disk under the embedded database: reads go on, and readiness says that writes do not.

use std::{fs, process::Command};

use serde_json::json;

use super::PASSWORD;
use crate::{
    interop::require,
    support::{Place, Server, servers::eventually},
};

const DOWN: &str = r#"{"status":"down","database":"down","keys":"ok"}"#;

/// Sets the size that no file of the server may exceed.
fn limit_files(server: &Server, bytes: &str) {
    let mut command = Command::new(require("prlimit", "util-linux"));
    command.args([
        "--pid",
        &server.pid().to_string(),
        &format!("--fsize={bytes}:unlimited"),
    ]);
    assert!(command.status().unwrap().success());
}

/// Leaves no room after what the write-ahead log holds.
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
async fn a_sign_in_that_cannot_be_written_makes_the_instance_not_ready_until_one_can() {
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
    eventually("readiness says so", async || is_ready(&server, 503).await).await;
    let ready = server.get("/health/ready").await;
    ready.expect(503, DOWN);
    assert_eq!(ready.header("retry-after"), "1");
    eventually("it is logged", async || {
        server.log().contains("the database takes no writes: ")
    })
    .await;
    // What only reads goes on.
    assert_eq!(server.verify(&pair.access).await.status, 200);
    assert_eq!(server.get("/health/live").await.status, 200);
    limit_files(&server, "unlimited");
    eventually("it is ready again", async || is_ready(&server, 200).await).await;
    server.pair("ada", PASSWORD).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_noticed_without_a_sign_in() {
    let (place, server) = started();
    server.pair("ada", PASSWORD).await;
    fill(&place, &server);
    eventually("readiness says so", async || is_ready(&server, 503).await).await;
    limit_files(&server, "unlimited");
    eventually("it is ready again", async || is_ready(&server, 200).await).await;
    let pair = server.pair("ada", PASSWORD).await;
    let answer = server
        .post("/api/auth/logout/", &json!({ "refresh": pair.refresh }))
        .await;
    assert_eq!(answer.status, 200);
}

/// Asking often writes nothing more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_at_readiness_writes_nothing() {
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
    // The audit trail and one test write may come in between.
    assert!(size() - before < 100_000, "{}", size() - before);
}
