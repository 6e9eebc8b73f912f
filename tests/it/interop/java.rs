//! Java's HTTP client, which offers HTTP/2 by default.

use std::process::Command;

use super::verifier::require;
use latchkey_testkit::Place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn java_http_client_loses_no_request() {
    require("javac", "default-jdk-headless");
    let place = Place::new();
    let server = place.serve("");
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/interop/OffersHttp2.java"
    );
    let mut java = Command::new(require("java", "default-jdk-headless"));
    java.args([
        "-Xshare:auto",
        source,
        &format!("{}/api/token/verify/", server.url),
    ]);
    let output = java
        .args([r#"{"token":"junk"}"#, "401", "300"])
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(out.trim(), "300 good, 0 failed", "{err}");
}
