//! Restarts of the process, and clients that hang up: rotations and revocations hold.

use super::{BLACKLISTED, VERIFY_BLACKLISTED};
use latchkey_testkit::{Backend, Pair, TestApp, on_both_backends, servers::eventually};

on_both_backends! {
    async fn restart_keeps_rotations_log_outs_and_sessions(backend: Backend) {
        let mut old = TestApp::start(backend).await;
        let rotated = old.signed_in("ada").await;
        let live = old.refresh(&rotated.refresh).await.pair();
        let dead = old.signed_in("bob").await;
        old.blacklist(&dead.refresh).await.expect(200, "{}");
        old.stop();

        let new = old.twin().await;
        let again = new.refresh(&rotated.refresh).await.pair();
        assert_eq!(again.refresh, live.refresh, "the grace outlasts the process");
        new.verify(&dead.access).await.expect(400, VERIFY_BLACKLISTED);
        new.refresh(&dead.refresh).await.expect(401, BLACKLISTED);
        new.refresh(&live.refresh).await.pair();
        new.refresh(&rotated.refresh).await.expect(401, BLACKLISTED);
        new.verify(&live.access).await.expect(400, VERIFY_BLACKLISTED);
    }

    /// The response of a refresh is lost, and the client retries.
    async fn client_that_hung_up_before_the_response_gets_the_successor(backend: Backend) {
        let app = TestApp::start(backend).await;
        let mut pair = app.signed_in("ada").await;
        for round in 0..5 {
            // A new session each time: an abandoned request may arrive late, and two generations
            // late is reuse.
            pair = app.signed_in(&format!("user{round}")).await;
            let body = serde_json::json!({ "refresh": pair.refresh }).to_string();
            hang_up_after(&app, "/api/token/refresh/", &body);
            let mut next: Option<Pair> = None;
            eventually("the retry succeeds", async || {
                let answer = app.refresh(&pair.refresh).await;
                next = (answer.status == 200).then(|| answer.pair());
                next.is_some()
            })
            .await;
            pair = next.unwrap();
            assert_eq!(latchkey_testkit::Forge::claims_of(&pair.refresh)["gen"], 1);
        }
        for _ in 0..20 {
            let body = serde_json::json!({ "token": pair.access }).to_string();
            hang_up_after(&app, "/api/token/verify/", &body);
        }
        app.verify(&pair.access).await.expect(200, "{}");
    }
}

/// Sends a whole request and closes the connection at once.
fn hang_up_after(app: &TestApp, path: &str, body: &str) {
    use std::io::Write as _;
    let mut stream = std::net::TcpStream::connect(app.address).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
}
