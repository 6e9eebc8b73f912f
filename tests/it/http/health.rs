//! `/health/live` and `/health/ready`

use crate::support::{Backend, TestApp, servers::eventually};

on_both_backends! {
    async fn a_healthy_server_says_so_part_by_part(backend: Backend) {
        let app = TestApp::start(backend).await;
        let ready = match backend {
            Backend::Embedded => r#"{"status":"ok","database":"ok"}"#,
            Backend::PostgresAndRedis => r#"{"status":"ok","database":"ok","redis":"ok"}"#,
        };
        eventually("the start is over", async || app.get("/health/ready").await.text == ready).await;
        for (path, body) in [("/health/live", r#"{"status":"ok"}"#), ("/health/ready", ready)] {
            let answer = app.get(path).await;
            answer.expect(200, body);
            assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("application/json", "no-store"));
        }
    }
}
