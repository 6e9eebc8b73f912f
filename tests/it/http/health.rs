//! `/health/live` and `/health/ready`

use crate::support::{Backend, TestApp, servers::eventually};

on_both_backends! {
    async fn a_healthy_server_says_so_part_by_part(backend: Backend) {
        let app = TestApp::start(backend).await;
        let ready = match backend {
            Backend::Embedded => r#"{"status":"ok","database":"ok","keys":"ok"}"#,
            Backend::PostgresAndRedis => r#"{"status":"ok","database":"ok","redis":"ok","keys":"ok"}"#,
        };
        eventually("the start is over", async || app.get("/health/ready").await.text == ready).await;
        for (path, body) in [("/health/live", r#"{"status":"ok"}"#), ("/health/ready", ready)] {
            let answer = app.get(path).await;
            answer.expect(200, body);
            assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("application/json", "no-store"));
        }
    }

    /// A file in place of the directory: this instance does not notice revoked keys.
    async fn a_ring_that_cannot_be_read_is_reported_with_the_seconds(backend: Backend) {
        let app = TestApp::start(backend).await;
        eventually("the start is over", async || app.get("/health/ready").await.text.contains(r#""status":"ok""#)).await;
        let pair = app.signed_in("ada").await;
        let keys = &app.config.keys.keys_dir;
        let aside = keys.with_extension("aside");
        std::fs::rename(keys, &aside).unwrap();
        std::fs::write(keys, "").unwrap();
        app.advance(60);
        eventually("it says so", async || {
            let ready = app.get("/health/ready").await;
            let said = ready.json();
            ready.status == 200 && said["status"] == "degraded" && said["keys"] == "degraded" && said["keys_last_look_seconds"].as_u64() >= Some(60)
        })
        .await;
        let metrics = app.get("/metrics").await.text;
        let age = metrics.lines().find_map(|line| line.strip_prefix("latchkey_keys_last_look_seconds ")).unwrap();
        assert!(age.parse::<u64>().unwrap() >= 60, "{age}");
        app.verify(&pair.access).await.expect(200, "{}");

        std::fs::remove_file(keys).unwrap();
        std::fs::rename(&aside, keys).unwrap();
        eventually("it is well again", async || app.get("/health/ready").await.text.contains(r#""status":"ok""#)).await;
        assert!(app.get("/metrics").await.text.contains("\nlatchkey_keys_last_look_seconds 0\n"));
    }
}
