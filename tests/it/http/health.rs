//! `/health/live` and `/health/ready`

use latchkey_testkit::{Backend, TestApp, on_both_backends, servers::eventually};

on_both_backends! {
    async fn healthy_server_reports_each_part(backend: Backend) {
        let app = TestApp::start(backend).await;
        let ready = match backend {
            Backend::Embedded => r#"{"status":"ok","database":"ok","keys":"ok"}"#,
            Backend::PostgresAndRedis => r#"{"status":"ok","database":"ok","redis":"ok","keys":"ok"}"#,
        };
        eventually("the server is ready", async || app.get("/health/ready").await.text == ready).await;
        for (path, body) in [("/health/live", r#"{"status":"ok"}"#), ("/health/ready", ready)] {
            let answer = app.get(path).await;
            answer.expect(200, body);
            assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("application/json", "no-store"));
        }
    }
}

/// With a file in place of the directory, this instance cannot notice revoked keys.
#[tokio::test]
async fn unreadable_key_ring_is_reported_with_its_age() {
    let app = TestApp::start(Backend::Embedded).await;
    eventually("the server is ready", async || {
        app.get("/health/ready")
            .await
            .text
            .contains(r#""status":"ok""#)
    })
    .await;
    let pair = app.signed_in("ada").await;
    let keys = &app.config.keys.keys_dir;
    let aside = keys.with_extension("aside");
    std::fs::rename(keys, &aside).unwrap();
    std::fs::write(keys, "").unwrap();
    app.advance(60);
    eventually("the fault is reported", async || {
        let ready = app.get("/health/ready").await;
        let said = ready.json();
        ready.status == 200
            && said["status"] == "degraded"
            && said["keys"] == "degraded"
            && said["keys_last_look_seconds"].as_u64() >= Some(60)
    })
    .await;
    let metrics = app.get("/metrics").await.text;
    let age = metrics
        .lines()
        .find_map(|line| line.strip_prefix("latchkey_key_ring_read_age_seconds "))
        .unwrap();
    assert!(age.parse::<u64>().unwrap() >= 60, "{age}");
    app.verify(&pair.access).await.expect(200, "{}");

    std::fs::remove_file(keys).unwrap();
    std::fs::rename(&aside, keys).unwrap();
    eventually("the server is ready again", async || {
        app.get("/health/ready")
            .await
            .text
            .contains(r#""status":"ok""#)
    })
    .await;
    assert!(
        app.get("/metrics")
            .await
            .text
            .contains("\nlatchkey_key_ring_read_age_seconds 0\n")
    );
}
